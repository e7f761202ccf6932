"""Models that are known by a name: `photo`, which lies in the package, and `drawn`, which the quickstart makes."""

import os
from dataclasses import dataclass
from pathlib import Path

from facemllm.cli import UserError

from .hub_names import is_model_folder

PACKAGED = Path(__file__).resolve().parents[1] / "models"
"""The room of packaged models, one folder each."""
DEFAULT_MODEL = "photo"


@dataclass(frozen=True)
class KnownModel:
    """Where a model that has a name lies, and what to do where it does not."""

    folder: Path
    remedy: str


def known_models() -> dict[str, KnownModel]:
    """The models that have a name, whether they are there or not; `drawn` counts from the current directory."""
    return {
        DEFAULT_MODEL: KnownModel(
            PACKAGED / DEFAULT_MODEL,
            "its weights are not in this version of the package; give --model, or make it (docs/models.md)",
        ),
        "drawn": KnownModel(
            Path("quickstart", "model"), "there is no quickstart/model in this directory; run facemllm quickstart"
        ),
    }


def find_model(model: str | Path) -> str:
    """Where a model lies: the folder of one that is known by name; a folder, an export or a Hub id is as it was given.

    A model folder in the current directory wins over a known name that it has; `./photo` is always a folder.

    Raises:
        UserError: for a known name whose model is not there.
    """
    name = str(model)
    known = known_models().get(name)
    if known is None or is_model_folder(name):
        return name
    if not is_model_folder(known.folder):
        raise UserError(f"{name}: {known.remedy}")
    return str(known.folder)


def names_model(word: str) -> bool:
    """Whether a word of a command line is a model without doubt: the folder of one, or a known name.

    A file or folder here that has a known name and is no model is what it is: pictures, say.
    """
    return is_model_folder(word) or (word in known_models() and not os.path.exists(word))
