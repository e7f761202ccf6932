"""The toolkit's face: command line, quickstart, training of the tiny towers, and reports.

```python
from facemllm import load_model

model, processor = load_model("photo")  # or a model folder, an ONNX export, a Hub id
```
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference.loading import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    """`load_model`, on first use: it imports PyTorch, which commands that load no model do without (PEP 562)."""
    if name != "load_model":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .inference.loading import load_model

    return load_model
