"""One variant of a model, in a process of its own, for `onnx_table`.

    python -m benchmarks.onnx_runner VARIANT FOLDER INPUTS.npz DEVICE THREADS

Each line of standard input names a measurement (`MEASUREMENTS`), which is answered with a line of JSON.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from facemllm_onnx.benchmark import NEW, FolderTimer, measure_machine, peak_memory_mb, seconds, timings
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion

MEASUREMENTS = ("generate", "first_token", "vision", "scoring")


class TorchTimer:
    """Times PyTorch as users run it, `generate`; compiled, with transformers' own static cache and settings."""

    def __init__(self, folder: str, device: str, threads: int, compiled: bool):
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        import modeling_facemllm

        torch.set_num_threads(threads)
        modeling_facemllm.register()
        kind = torch.float32 if device == "cpu" else torch.bfloat16
        self.torch, self.device, self.kind = torch, device, kind
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=kind).to(device).eval()
        self.model.generation_config.eos_token_id = None  # every answer has its full length
        self.options: dict[str, Any] = {"do_sample": False, "pad_token_id": 0}
        if compiled:
            from transformers import CompileConfig

            compile_config = CompileConfig(mode="default", fullgraph=True, dynamic=False)
            compile_config._compile_all_devices = True  # transformers compiles on accelerators only, by default
            self.options |= {"cache_implementation": "static", "compile_config": compile_config}

    def generate(self, input_ids: np.ndarray) -> dict[str, Any]:
        """`NEW` greedy tokens behind `(rows, length)`."""
        ids = self.torch.from_numpy(input_ids).to(self.device)
        streamed = _Moments(self._wait)
        self._generate(input_ids=ids, max_new_tokens=NEW, streamer=streamed)
        return timings(streamed.times, streamed.tokens)

    def first_token(self, input_ids: np.ndarray, pixel_values: np.ndarray) -> float:
        """Seconds until the first token behind a prompt with an image."""
        ids, pixels = self.torch.from_numpy(input_ids).to(self.device), self._pixels(pixel_values)
        return seconds(lambda: self._generate(input_ids=ids, pixel_values=pixels, max_new_tokens=1), self._wait)

    def vision(self, pixel_values: np.ndarray) -> float:
        """Seconds for the features of one image."""
        pixels = self._pixels(pixel_values)
        with self.torch.inference_mode():
            return seconds(lambda: self.model.get_image_features(pixels), self._wait)

    def scoring(self, image: Any, questions: list) -> float:
        """Seconds for closed questions about one image."""
        return seconds(lambda: self.model.score_options(self.processor, [image], questions), self._wait)

    def _generate(self, input_ids: Any, **more: Any) -> None:
        self.model.generate(
            input_ids=input_ids, attention_mask=self.torch.ones_like(input_ids), **self.options, **more
        )

    def _pixels(self, pixel_values: np.ndarray) -> Any:
        return self.torch.from_numpy(pixel_values).to(self.device, self.kind)

    def _wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()


class _Moments:
    """A streamer that notes when it was made and when each token `(rows,)` came; the prompt is `(rows, length)`."""

    def __init__(self, wait: Callable[[], None]):
        wait()
        self.wait, self.times, self.tokens = wait, [time.perf_counter()], []

    def put(self, value: Any) -> None:
        if value.ndim == 1:
            self.wait()
            self.times.append(time.perf_counter())
            self.tokens.append(int(value[0]))

    def end(self) -> None:
        pass


def main() -> None:
    """Load the variant that is named, then answer standard input line by line."""
    variant, folder, inputs_file, device, threads = sys.argv[1:6]
    if variant == "machine":
        speed = measure_machine(int(threads)) if device == "cpu" else _measure_gpu()
        sys.stdout.write(json.dumps(speed))
        return
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with contextlib.redirect_stdout(sys.stderr), np.load(inputs_file) as inputs:
        if variant == "onnx":
            timer = FolderTimer(folder, device, int(threads))
        else:
            timer = TorchTimer(folder, device, int(threads), compiled=variant == "compile")
        for line in sys.stdin:
            answer = measure(timer, line.strip(), inputs)
            answers.write(json.dumps({**answer, "peak_mb": peak_memory_mb()}) + "\n")
            answers.flush()


def _measure_gpu(attempts: int = 5) -> dict[str, float]:
    """Bytes/s of reading (a copy reads and writes as much) and bfloat16 operations/s of a matrix product."""
    import torch

    numbers = torch.ones(1 << 28, dtype=torch.bfloat16, device="cuda")
    target = torch.empty_like(numbers)
    square = torch.ones(8192, 8192, dtype=torch.bfloat16, device="cuda")

    wait = torch.cuda.synchronize
    copying = min(seconds(lambda: target.copy_(numbers), wait) for _ in range(attempts))
    product = min(seconds(lambda: square @ square, wait) for _ in range(attempts))
    return {"bytes_per_s": 2 * numbers.nbytes / copying, "flops_per_s": 2 * len(square) ** 3 / product}


def measure(timer: Any, measurement: str, inputs: Any) -> dict[str, Any]:
    """Run it once; seconds, and the tokens of `generate`."""
    if measurement == "generate":
        return timer.generate(inputs["prompt"])
    if measurement == "first_token":
        return {"first_s": timer.first_token(inputs["with_image"], inputs["pixel_values"])}
    if measurement == "vision":
        return {"image_s": timer.vision(inputs["pixel_values"])}
    questions = [ClosedQuestion(text, tuple(options)) for text, options in json.loads(str(inputs["questions"]))]
    return {"scoring_s": timer.scoring(Image.fromarray(inputs["face"]), questions)}


if __name__ == "__main__":
    main()
