"""The last stage's model as the package carries it: half the bytes, no log of its training.

    python recipes/photo/pack.py RUN OUT

Weights are rounded to float16. The configuration says float32, in which they are computed again: CPUs have slow
arithmetic of 16 bits, or none.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

import modeling_facemllm
from datasets_scripts.files import replacing_folder, write_json

LARGEST = 12_000_000  # bytes


def pack(run: Path, out: Path) -> int:
    """Write the model folder `out`, and say how many bytes it has."""
    modeling_facemllm.register()
    model = AutoModelForImageTextToText.from_pretrained(run, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(run)
    with replacing_folder(out) as new:
        model.half().save_pretrained(new)
        processor.save_pretrained(new)
        config = json.loads((new / "config.json").read_text(encoding="utf-8"))
        for part in (config, config["text_config"], config["vision_config"]):
            part["dtype"] = "float32"
        write_json(new / "config.json", config)
    return sum(file.stat().st_size for file in out.rglob("*") if file.is_file())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("out", type=Path, metavar="OUT")
    args = parser.parse_args()
    size = pack(args.run, args.out)
    sys.stdout.write(f"{args.out}: {size / 1e6:.1f} MB\n")
    if size > LARGEST:
        raise SystemExit(f"{args.out}: more than {LARGEST / 1e6:.0f} MB")
