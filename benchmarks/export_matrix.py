"""Every pair of towers through the exporter: tiny random models, whose graphs have to give the same greedy tokens.

    python -m benchmarks.export_matrix [--backend optimum] [--batch] [--no-scoring] [--only dinov2 llama] [--json]

SigLIP, CLIP and DINOv2 × Qwen2, Qwen3 and Llama × tied and untied heads × pixel shuffle 1 and 2: 36 models of two
layers. Ends with 1 when one of them cannot be exported or gives another token.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from benchmarks.models import byte_level_tokenizer
from facemllm_onnx.benchmark import markdown_table
from facemllm_onnx.export import export_model
from facemllm_onnx.export.folder import ExportError
from facemllm_onnx.export.request import BACKENDS
from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

VISION = ("siglip", "clip", "dinov2")
TEXT = ("qwen2", "qwen3", "llama")


@dataclass(frozen=True)
class Combination:
    """One model of the matrix, and whether its decoder takes several rows."""

    vision: str
    text: str
    tied: bool
    pixel_shuffle: int
    batch: bool = False


def run(combination: Combination, backend: str = "auto", scoring: bool = True) -> dict[str, Any]:
    """Export one combination to a temporary folder and compare its graphs with it.

    Returns:
        `tokens` and how many of them are `equal`, the largest relative `difference` of logits, that of `scores` in
        nats, and `seconds`; or `error`, why there is no export.
    """
    start = time.perf_counter()
    model, processor = build(combination)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            out = Path(scratch, "exported")
            options = {"backend": backend, "batch": combination.batch, "scoring": scoring}
            parity = export_model(model, out, processor=processor, **options)["parity"]["fp32"]
        except ExportError as error:
            return {"error": str(error)}
    prompts = parity["prompts"].values()
    return {
        "tokens": sum(prompt["tokens"] for prompt in prompts),
        "equal": sum(prompt["equal"] for prompt in prompts),
        "difference": max(prompt["difference"] for prompt in prompts),
        "scores": parity.get("scores", {}).get("difference"),
        "seconds": round(time.perf_counter() - start, 1),
    }


def build(combination: Combination) -> tuple[PreTrainedModel, FaceMLLMProcessor]:
    """The tiny model with random weights, and its processor."""
    torch.manual_seed(0)
    vision, text = vision_config(combination.vision), text_config(combination.text, combination.tied)
    shuffle = {"pixel_shuffle_factor": combination.pixel_shuffle}
    processor = FaceMLLMProcessor.from_towers(vision, byte_level_tokenizer(), **shuffle)
    from_towers = FaceMLLMForConditionalGeneration.from_towers
    return from_towers(vision, text, tokenizer=processor.tokenizer, **shuffle), processor


def vision_config(name: str) -> PretrainedConfig:
    """A tower of one layer for 32-pixel images of 4×4 patches."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    if name == "dinov2":
        return AutoConfig.for_model(name, mlp_ratio=2, **sizes)
    return AutoConfig.for_model(f"{name}_vision_model", intermediate_size=32, **sizes)


def text_config(name: str, tied: bool) -> PretrainedConfig:
    """A causal language model of two layers that knows bytes."""
    return AutoConfig.for_model(
        name,
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=tied,
        initializer_range=0.2,  # large enough that answers vary and depend on the image
        **({"head_dim": 8} if name == "qwen3" else {}),
    )


def table(found: list[dict[str, Any]]) -> str:
    """The rows of `run` as Markdown."""
    header = ["vision", "text", "head", "pixel shuffle", "tokens equal", "logits", "scores"]
    lines = []
    for row in found:
        if "error" in row:
            figures = [row["error"], "", ""]
        else:
            figures = [f"{row['equal']}/{row['tokens']}", f"{row['difference']:.1e}", str(row["scores"])]
        head = "tied" if row["tied"] else "untied"
        lines.append([row["vision"], row["text"], head, str(row["pixel_shuffle"]), *figures])
    return markdown_table(header, lines)


def main() -> int:
    """Export and compare; 1 where a combination fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export_matrix", description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="auto", choices=BACKENDS)
    parser.add_argument("--batch", action="store_true", help="decoders that take several rows")
    parser.add_argument("--only", nargs="+", default=[], choices=[*VISION, *TEXT], help="those with all of these")
    parser.add_argument("--no-scoring", action="store_true", help="leave the scoring graph out: half the time")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, as they come")
    args = parser.parse_args()
    matrix = (Combination(*parts, args.batch) for parts in itertools.product(VISION, TEXT, (True, False), (1, 2)))
    found = []
    chosen = [one for one in matrix if set(args.only) <= {one.vision, one.text}]
    for one in tqdm(chosen, desc="exports", file=sys.stderr):
        found.append({**asdict(one), **run(one, args.backend, scoring=not args.no_scoring)})
        if args.json:
            print(json.dumps(found[-1]), flush=True)
    if not args.json:
        print(table(found), end="")
    return int(any("error" in row or row["equal"] < row["tokens"] for row in found))


if __name__ == "__main__":
    raise SystemExit(main())
