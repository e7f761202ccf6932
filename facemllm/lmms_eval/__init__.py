"""lmms-eval (github.com/EvolvingLMMs-Lab/lmms-eval): this model as its plug-in, and tasks on FairFace and FaceXBench.

lmms-eval finds the model through the entry point group `lmms_eval.models`, and the tasks through its option
`--include_path`, which takes the folder that `python -m facemllm.lmms_eval tasks` prints. Measured with 0.7.3.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

TASKS = Path(__file__).parent / "tasks"
"""The folder of the YAML files, for lmms-eval's `--include_path`."""


def model_manifest() -> "ModelManifest":
    """What lmms-eval's registry needs to know: the model's name and its two classes."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="facemllm",
        simple_class_path="facemllm.lmms_eval.models.FaceMLLM",
        chat_class_path="facemllm.lmms_eval.models.FaceMLLMChat",
    )
