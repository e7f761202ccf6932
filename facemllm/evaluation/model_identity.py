"""Which weights answered, told without loading them: predictions of two models are never mixed in one folder."""

import hashlib
from pathlib import Path

EDGE_BYTES = 1 << 20
WEIGHTS = ("*.safetensors", "*.bin")


def identify(model: str | Path, adapter: str | Path | None = None) -> str | None:
    """A digest of the weights in a model's folder, its adapter's included; None for what is not a folder here.

    Of each file the size and its first and last megabyte are read: two models that differ somewhere else alone are
    not told apart.
    """
    folders = [Path(name).expanduser() for name in (model, adapter) if name is not None]
    if not folders[0].is_dir():
        return None
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for pattern in WEIGHTS for path in folder.glob(pattern)):
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with open(path, "rb") as file:
                digest.update(file.read(EDGE_BYTES))
                file.seek(max(0, size - EDGE_BYTES))
                digest.update(file.read())
    return digest.hexdigest()[:16]
