"""What the runtime's decoder keeps between answers, and how it stores numbers."""

import json

import numpy as np
import torch

from facemllm_onnx.runtime.decoding import Decoder, DecoderRun, to_float32, to_storage
from facemllm_onnx.runtime.sessions import open_sessions


def test_runs_one_after_the_other_share_the_memory_that_was_set_aside(fused_folder):
    names = ("embed_tokens", "decoder_model_merged")
    sessions, _ = open_sessions({name: fused_folder / "onnx" / f"{name}.onnx" for name in names}, "cpu", threads=1)
    record = json.loads((fused_folder / "export.json").read_text())
    decoder = Decoder(*(sessions[name] for name in names), record["cache"], "cpu", max_length=20)
    caches = []
    for _ in range(2):
        with DecoderRun(decoder, np.ones((1, 17), dtype=np.int64), max_new_tokens=4) as run:
            caches.append(run.cache)
    room, cache = decoder.take_cache(20)
    assert room == 20 and caches[0] is caches[1] is cache


def test_bfloat16_is_kept_as_pytorch_rounds_it():
    numbers = np.random.default_rng(0).normal(0, 1, 4000).astype(np.float32)
    numbers[:3] = 0, 1 + 2**-8, 1 + 3 * 2**-8  # halfway between two, to the even one
    rounded = torch.from_numpy(numbers).bfloat16()
    stored = to_storage(numbers, np.uint16)
    assert np.array_equal(stored, rounded.view(torch.uint16).numpy())
    assert np.array_equal(to_float32(stored), rounded.float().numpy())
