"""An export's model on ONNX Runtime alone. Importing this package imports neither it nor PyTorch."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "FaceMLLMForONNX":
        from .model import FaceMLLMForONNX

        return FaceMLLMForONNX
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
