"""What loading an exported model costs: `python -m facemllm_onnx.footprint FOLDER` prints it as JSON.

One process for one folder: memory that another model once took is not given back to the system. Needs neither torch
nor transformers.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from facemllm_onnx.runtime import FaceMLLMForONNX

QUESTION = "What can be seen in this picture?"


def footprint(folder: str | Path) -> dict[str, float]:
    """Load an export on the CPU, one thread, and have it answer one question.

    Returns:
        `load_seconds`; `peak_mb`, of this process so far; and `bare_mb`, what that was before loading: Python, NumPy
        and ONNX Runtime. 1 MB is 2²⁰ bytes.
    """
    bare = peak_mb()
    start = time.perf_counter()
    model = FaceMLLMForONNX.from_pretrained(folder, provider="cpu", threads=1)
    seconds = time.perf_counter() - start
    model.ask(Image.fromarray(np.full((64, 64, 3), 128, np.uint8)), QUESTION, max_new_tokens=16)
    return {"load_seconds": round(seconds, 3), "peak_mb": round(peak_mb(), 1), "bare_mb": round(bare, 1)}


def peak_mb() -> float:
    """The most memory that this process has held, in 2²⁰ bytes; Linux's own count, which starts with the program."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM: peak memory is measured on Linux")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(footprint(sys.argv[1])) + "\n")
