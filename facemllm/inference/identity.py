"""Which weights a model has, without loading it."""

import hashlib
from pathlib import Path

from facemllm_onnx.export_location import EXPORT_RECORD

IDENTIFYING = ("*config.json", "*.safetensors", "*.bin")
IDENTIFYING_EXPORTS = ("*config.json", "onnx/*.onnx", "onnx/*.onnx_data")
SAMPLES, SAMPLE_BYTES = 4096, 64


def identify(model: str | Path, adapter: str | Path | None = None) -> str | None:
    """A digest of weights and settings in a model folder and its adapter's; None where `model` is no folder.

    It keeps predictions of two models from being mixed. The size of each file and 4,096 places in it are read, so two
    stages differ also where only the projector, in the middle of the file, was trained.
    """
    folders = [Path(name).expanduser() for name in (model, adapter) if name is not None]
    if not folders[0].is_dir():
        return None
    digest = hashlib.sha256()
    for folder in folders:
        patterns = IDENTIFYING_EXPORTS if (folder / EXPORT_RECORD).is_file() else IDENTIFYING
        for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with open(path, "rb") as file:
                for start in range(0, size, max(SAMPLE_BYTES, size // SAMPLES)):
                    file.seek(start)
                    digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:16]
