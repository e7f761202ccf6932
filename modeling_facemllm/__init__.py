"""Face-MLLM as a package: the same flat files that ship to the Hub, registered with transformers' auto classes."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from .configuration_facemllm import FaceMLLMConfig, FaceMLLMVisionConfig
from .modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMModel
from .processing_facemllm import FaceMLLMProcessor
from .vision_facemllm import FaceMLLMVisionModel

AutoConfig.register("facemllm_vision", FaceMLLMVisionConfig, exist_ok=True)
AutoModel.register(FaceMLLMVisionConfig, FaceMLLMVisionModel, exist_ok=True)
AutoConfig.register("facemllm", FaceMLLMConfig, exist_ok=True)
for auto_class in (AutoModel, AutoModelForImageTextToText, AutoModelForCausalLM):
    auto_class.register(FaceMLLMConfig, FaceMLLMForConditionalGeneration, exist_ok=True)
AutoProcessor.register(FaceMLLMConfig, FaceMLLMProcessor, exist_ok=True)

__all__ = [
    "FaceMLLMConfig",
    "FaceMLLMForConditionalGeneration",
    "FaceMLLMModel",
    "FaceMLLMProcessor",
    "FaceMLLMVisionConfig",
    "FaceMLLMVisionModel",
]
