"""The rows that `facemllm analyze` wrote, and photos that it cannot read."""

import json
from pathlib import Path


def read(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def spoil(path):
    path.write_bytes(path.read_bytes()[:200])
