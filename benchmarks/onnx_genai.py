"""Times onnxruntime-genai for `onnx_table` in that package's own environment; imports nothing of this project.

    GENAI_PYTHON onnx_genai.py FOLDER THREADS NEW

FOLDER is what its model builder wrote. Each line of standard input, a JSON list of token ids, is answered with a line
of JSON: seconds until the first token, seconds for each later one, the tokens and the peak memory in MB.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime_genai as genai


def main() -> None:
    """Answer standard input line by line."""
    folder, threads, new = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    config = genai.Config(folder)
    options = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    model = genai.Model(config)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(generate(model, np.array(json.loads(line), np.int32), new)) + "\n")
        sys.stdout.flush()


def generate(model: genai.Model, prompt: np.ndarray, new: int) -> dict:
    """`new` greedy tokens behind a prompt `(length,)`."""
    params = genai.GeneratorParams(model)
    params.set_search_options(do_sample=False, max_length=len(prompt) + new)
    generator = genai.Generator(model, params)
    times, tokens = [time.perf_counter()], []
    generator.append_tokens(prompt)
    for _ in range(new):
        generator.generate_next_token()
        tokens.append(int(generator.get_next_tokens()[0]))
        times.append(time.perf_counter())
    status = Path("/proc/self/status").read_text().splitlines()
    peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024
    seconds = {"prompt_s": times[1] - times[0], "token_s": (times[-1] - times[1]) / (new - 1)}
    return {**seconds, "tokens": tokens, "peak_mb": peak}


main()
