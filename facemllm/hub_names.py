"""Names that may mean the Hub: told apart from folders here, before anything is loaded."""

from pathlib import Path

from facemllm.cli import UserError

# The rule lies there because the ONNX runtime, which imports nothing of this package, follows it too.
from facemllm_onnx.export_location import could_be_hub_id

__all__ = ["ADAPTER", "check_model_name", "could_be_hub_id"]

ADAPTER = "adapter_config.json"


def check_model_name(model: str | Path) -> None:
    """Refuse what is neither a model's or adapter's folder nor can be a Hub id. Raises ``UserError``; asks no Hub."""
    path = Path(model).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", ADAPTER)):
            raise UserError(
                f"{model}: the folder has no config.json; give the folder that training or quickstart left"
            )
    elif not could_be_hub_id(str(model)):
        raise UserError(f"{model}: there is no such model folder; a Hub id has the form owner/name")
