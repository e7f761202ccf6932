"""Names that may mean the Hub: told apart from folders here, before anything is loaded."""

# The rule lies there because the ONNX runtime, which imports nothing of this package, follows it too.
from facemllm_onnx.export_location import could_be_hub_id

__all__ = ["could_be_hub_id"]
