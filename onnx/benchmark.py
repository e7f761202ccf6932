"""How fast exported folders answer on this machine, and how far that is from what its memory and arithmetic allow.

    python -m facemllm_onnx.benchmark FOLDER [FOLDER ...] [--provider cpu|cuda] [--threads 1] [--rounds 5] [--json]
    python -m facemllm_onnx.benchmark FOLDER --footprint

Needs no torch. The folders take turns, and the median over the rounds is reported. What bounds a figure:

- decoding reads every weight of the decoder and the cache once for each token: memory bandwidth
- reading a prompt and an image takes two operations for each weight and token: arithmetic

`benchmarks.onnx_table` compares with PyTorch and onnxruntime-genai.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facemllm_onnx.runtime.model import FaceMLLMForONNX

PROMPT, NEW = 228, 64  # tokens


def measure_machine(threads: int = 1, attempts: int = 5) -> dict[str, float]:
    """What memory and arithmetic of the machine give at most: `bytes_per_s` read and float32 `flops_per_s`.

    From a dot product of two arrays far larger than the caches, and a matrix product. NumPy's BLAS reads, with
    `OMP_NUM_THREADS` threads; ONNX Runtime multiplies. Needs the package onnx_ir.
    """
    import onnx_ir
    import onnxruntime

    text = """<ir_version: 10, opset_import: ["": 20]>
    product (float[n, n] left, float[n, n] right) => (float[n, n] result) { result = MatMul (left, right) }"""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = onnx_ir.to_proto(onnx_ir.from_onnx_text(text)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    ones = np.ones(1 << 26, np.float32)  # 256 MB
    other = ones.copy()
    square = np.ones((2048, 2048), np.float32)
    reading = min(seconds(lambda: np.dot(ones, other)) for _ in range(attempts))
    product = min(seconds(lambda: session.run(None, {"left": square, "right": square})) for _ in range(attempts))
    return {"bytes_per_s": 2 * ones.nbytes / reading, "flops_per_s": 2 * len(square) ** 3 / product}


@dataclass(frozen=True)
class Workload:
    """What a model has to do: bytes read for a new token of each row, operations of the prompts, and of an image.

    The last is `None` for an encoder that is not made of patches alone.
    """

    bytes_per_token: float
    prompt_flops: float
    image_flops: float | None


def workload(record: dict[str, Any], config: dict[str, Any], rows: int = 1) -> Workload:
    """Of a folder with that `export.json` and `config.json`, for `rows` prompts of `PROMPT` tokens.

    Operations come from the sizes in `config.json`; the attention's products are counted, norms are not.
    """
    text, vision, cache = config["text_config"], config["vision_config"], record["cache"]
    kept = np.dtype({"bfloat16": "float16"}.get(cache["dtype"], cache["dtype"])).itemsize
    length = PROMPT + NEW / 2
    cached = 2 * cache["layers"] * cache["kv_heads"] * cache["head_dim"] * length * kept
    heads = text["num_attention_heads"] * cache["head_dim"]
    projections = text["hidden_size"] * (2 * heads + 2 * cache["kv_heads"] * cache["head_dim"])
    layer = projections + 3 * text["hidden_size"] * text["intermediate_size"]
    attention = 2 * heads * PROMPT * PROMPT  # two products, half of each masked
    head = 2 * text["hidden_size"] * text["vocab_size"]
    prompt = rows * (cache["layers"] * (2 * layer * PROMPT + attention) + head)
    image = None
    if "patch_size" in vision:
        patches, width = (vision["image_size"] // vision["patch_size"]) ** 2, vision["hidden_size"]
        encoder = 4 * width * width + 2 * width * vision.get("intermediate_size", 4 * width)
        image = vision["num_hidden_layers"] * (2 * encoder * patches + 4 * width * patches * patches)
    weights = record["graphs"]["decoder_model_merged"]["bytes"]
    return Workload(weights + rows * cached, prompt, image)


class FolderTimer:
    """Times one exported folder. All times in seconds."""

    def __init__(self, folder: str | Path, provider: str = "cpu", threads: int | None = 1):
        self.model = FaceMLLMForONNX.from_pretrained(folder, provider, threads=threads)
        self.model.end_token_ids = ()  # every answer has its full length

    def generate(self, input_ids: np.ndarray) -> dict[str, Any]:
        """`NEW` greedy tokens behind `(rows, length)`: until the first, for the others, and the tokens of row one."""
        tokens, times = [], [time.perf_counter()]
        for token in self.model.generate_tokens(input_ids, max_new_tokens=NEW, do_sample=False, stream=True):
            times.append(time.perf_counter())
            tokens.append(int(token[0]))
        return timings(times, tokens)

    def first_token(self, input_ids: np.ndarray, pixel_values: np.ndarray) -> float:
        """Until the first token behind a prompt with an image."""
        options = {"pixel_values": pixel_values, "max_new_tokens": 1, "do_sample": False}
        return seconds(lambda: self.model.generate_tokens(input_ids, **options))

    def vision(self, pixel_values: np.ndarray) -> float:
        """For the features of one image."""
        return seconds(lambda: self.model._features(pixel_values))

    def scoring(self, image: Any, questions: list) -> float | None:
        """For closed questions about one image; `None` where the folder has no scoring graph."""
        if "scoring" not in self.model.record["graphs"]:
            return None
        return seconds(lambda: self.model.score([image], questions))


def timings(times: list[float], tokens: list[int]) -> dict[str, Any]:
    """From the moments of the start and of each token: seconds to the first token, and for each later one."""
    each = (times[-1] - times[1]) / (len(times) - 2)
    return {"prompt_s": times[1] - times[0], "token_s": each, "tokens": tokens}


def seconds(run: Callable[[], Any], wait: Callable[[], Any] = lambda: None) -> float:
    """How long `run` takes; `wait` waits for what an accelerator still does, before and after."""
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


def peak_memory_mb() -> float:
    """Peak resident memory of this process; of the process alone, not of what started it, where Linux says."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def footprint(folder: str | Path) -> dict[str, float]:
    """Load an export on the CPU, one thread, and have it answer one question.

    One process for one folder: memory that another model once took is not given back to the system.

    Returns:
        `load_seconds`; `peak_mb`, of this process so far; and `bare_mb`, what that was before loading: Python, NumPy
        and ONNX Runtime. 1 MB is 2²⁰ bytes.
    """
    bare = peak_memory_mb()
    start = time.perf_counter()
    model = FaceMLLMForONNX.from_pretrained(folder, provider="cpu", threads=1)
    loading = time.perf_counter() - start
    picture = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
    model.ask(picture, "What can be seen in this picture?", max_new_tokens=16)
    return {"load_seconds": round(loading, 3), "peak_mb": round(peak_memory_mb(), 1), "bare_mb": round(bare, 1)}


def main(argv: list[str] | None = None) -> int:
    """Measure the folders and print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m facemllm_onnx.benchmark", description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="what facemllm export wrote")
    parser.add_argument("--provider", default="cpu", help="cpu, cuda or auto (default: cpu)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median is reported (default: 5)")
    parser.add_argument("--json", action="store_true", help="write the figures as JSON")
    parser.add_argument("--footprint", action="store_true", help="as JSON, seconds and memory of loading one folder")
    args = parser.parse_args(argv)
    if args.footprint:
        if len(args.folders) > 1:
            parser.error("--footprint: give one folder, its memory is that of a process of its own")
        try:
            sys.stdout.write(json.dumps(footprint(args.folders[0])) + "\n")
        except ValueError as error:
            parser.error(str(error))
        return 0
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: give 1 or more")
    try:
        timers = {folder: FolderTimer(folder, args.provider, args.threads) for folder in args.folders}
        rows = _measure(timers, args.rounds)
    except ValueError as error:
        parser.error(str(error))
    if args.json:
        sys.stdout.write(json.dumps({"machine": platform.processor() or platform.machine(), "rows": rows}) + "\n")
        return 0
    header = ["folder", "precision", "prompt, ms", "tokens/s", "first token with an image, ms", "images/s"]
    lines = [[value if isinstance(value, str) else f"{value:.1f}" for value in row.values()] for row in rows]
    sys.stdout.write(markdown_table(header, lines))
    return 0


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, each of its lines ended."""
    lines = [f"| {' | '.join(cells)} |\n" for cells in (header, *rows)]
    return "".join([lines[0], "|---" * len(header) + "|\n", *lines[1:]])


def _measure(timers: dict[str, FolderTimer], rounds: int) -> list[dict[str, Any]]:
    seen: dict[str, list[tuple]] = {folder: [] for folder in timers}
    for turn in range(rounds + 1):  # the first one warms up
        for folder, timer in timers.items():
            model = timer.model
            size = model.record["model"]["image_size"]
            prompt, with_image, pixels = sample_inputs(model.image_token_id, model.num_image_tokens, size)
            made = timer.generate(prompt)
            figures = made["prompt_s"], made["token_s"], timer.first_token(with_image, pixels), timer.vision(pixels)
            if turn:
                seen[folder].append(figures)
    rows = []
    for folder, timer in timers.items():
        prompt_s, token_s, first_s, image_s = (statistics.median(values) for values in zip(*seen[folder], strict=True))
        row = {"folder": str(folder), "precision": timer.model.record["precision"], "prompt_ms": 1000 * prompt_s}
        row |= {"tokens_per_s": 1 / token_s, "first_token_ms": 1000 * first_s, "images_per_s": 1 / image_s}
        rows.append(row)
    return rows


def sample_inputs(
    image_token_id: int, num_image_tokens: int, image_size: int, rows: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`rows` prompts of `PROMPT` random tokens, one with an image, as long where the image fits in, and its noise."""
    random = np.random.default_rng(0)
    prompts = random.integers(0, image_token_id, (rows, PROMPT))
    with_image = random.integers(0, image_token_id, (1, max(PROMPT, num_image_tokens + 2)))
    with_image[:, 1 : 1 + num_image_tokens] = image_token_id
    return prompts, with_image, random.standard_normal((1, 3, image_size, image_size), dtype=np.float32)


if __name__ == "__main__":
    sys.exit(main())
