"""Stub: pictures that the tests would download are drawn; no other kind is needed."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image


def url_to_local_path(url: str) -> str:
    path = Path(tempfile.gettempdir()) / f"facemllm-{Path(url).name}"
    if path.suffix in (".png", ".jpg", ".jpeg") and not path.exists():
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return str(path)
