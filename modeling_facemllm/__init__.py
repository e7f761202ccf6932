"""Face-MLLM as a package: the same flat files that ship to the Hub.

`register()` makes them known to transformers' auto classes; so does using any of the names below. Neither torch nor
transformers is imported before that, so that whoever only looks for faces (`face_detection_facemllm`) does without.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .configuration_facemllm import FaceMLLMConfig, FaceMLLMVisionConfig
    from .modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMModel
    from .pipeline_facemllm import FaceAnalysisPipeline
    from .processing_facemllm import FaceMLLMProcessor
    from .vision_facemllm import FaceMLLMVisionModel

__all__ = [
    "FaceAnalysisPipeline",
    "FaceMLLMConfig",
    "FaceMLLMForConditionalGeneration",
    "FaceMLLMModel",
    "FaceMLLMProcessor",
    "FaceMLLMVisionConfig",
    "FaceMLLMVisionModel",
    "register",
]


def register() -> None:
    """Let `AutoModel`, `pipeline` and their like load a Face-MLLM folder with the classes of this package.

    They win over the code that the folder brings; before transformers 5.4 only without `trust_remote_code=True`.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor
    from transformers.pipelines import PIPELINE_REGISTRY

    from .configuration_facemllm import FaceMLLMConfig, FaceMLLMVisionConfig, RegisteredPipelines
    from .modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMModel
    from .pipeline_facemllm import FaceAnalysisPipeline
    from .processing_facemllm import FaceMLLMProcessor
    from .versions_facemllm import AUTO_MODELS
    from .vision_facemllm import FaceMLLMVisionModel

    AutoConfig.register("facemllm_vision", FaceMLLMVisionConfig, exist_ok=True)
    AutoModel.register(FaceMLLMVisionConfig, FaceMLLMVisionModel, exist_ok=True)
    AutoConfig.register("facemllm", FaceMLLMConfig, exist_ok=True)
    for auto_class in AUTO_MODELS:
        auto_class.register(FaceMLLMConfig, FaceMLLMForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(FaceMLLMConfig, FaceMLLMProcessor, exist_ok=True)
    FaceMLLMConfig.pipelines_type = RegisteredPipelines
    if "face-analysis" not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            "face-analysis", FaceAnalysisPipeline, pt_model=AutoModelForImageTextToText, type="multimodal"
        )
    public = (FaceAnalysisPipeline, FaceMLLMConfig, FaceMLLMForConditionalGeneration, FaceMLLMModel, FaceMLLMProcessor)
    globals().update({kind.__name__: kind for kind in (*public, FaceMLLMVisionConfig, FaceMLLMVisionModel)})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register()
    return globals()[name]
