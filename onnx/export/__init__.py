"""Export: a Face-MLLM as ONNX graphs. `export_model` is imported when it is asked for, and PyTorch with it."""

from typing import Any

__all__ = ["export_model"]


def __getattr__(name: str) -> Any:
    if name == "export_model":
        from .exporter import export_model

        return export_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
