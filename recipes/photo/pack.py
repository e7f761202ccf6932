"""The last stage's model as the package carries it: calibrated, in half the bytes, without the log of its training.

    python recipes/photo/pack.py RUN CORPUS OUT [--held-out 2000]

- A model believes photographs that its vision tower has learned from too much. Those of CORPUS that `facemllm towers
  --held-out` kept out of its training tell how much: all logits are divided by the temperature (Guo et al., ICML 2017)
  that makes the answers about age and gender likeliest. The most probable answer stays. The weight of the last
  normalisation holds it, so every way of running the model has it.
- Weights are rounded to float16. The configuration says float32, in which they are computed again: CPUs have slow
  arithmetic of 16 bits, or none.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline

import modeling_facemllm
from datasets_scripts.corpus.loading import load_rows
from datasets_scripts.files import replacing_folder, write_json
from datasets_scripts.questions.conversations import expected_answer

LARGEST = 12_000_000  # bytes
TASKS = ["age", "gender"]
TEMPERATURES = np.geomspace(0.5, 3, 61)
BATCH = 64

Answer = tuple[np.ndarray, int]
"""The probabilities of a question's options, and which one is right."""


def held_out_answers(model: torch.nn.Module, processor: object, corpus: str, number: int) -> dict[str, list[Answer]]:
    """What the model says of the corpus's training photographs that its vision tower has not seen, by task."""
    analyze = pipeline("face-analysis", model=model, processor=processor, detector="none", tasks=TASKS)
    rows = load_rows(corpus, "captions", "train").shuffle(seed=0).take(number)  # as facemllm.tower_training.pictures
    found = defaultdict(list)
    for start in range(0, len(rows), BATCH):
        batch = list(rows.select(range(start, min(start + BATCH, len(rows)))))
        seen = analyze([row["image"].convert("RGB") for row in batch], batch_size=BATCH)
        for row, (face,) in zip(batch, seen, strict=True):
            for task, told in face["tasks"].items():
                options = list(told["scores"])
                if (label := expected_answer(task, row["labels"])) in options:
                    found[task].append((np.array(list(told["scores"].values())), options.index(label)))
    return found


def surprise(answers: Sequence[Answer], temperature: float) -> float:
    """The mean negative log-likelihood of the right options, in nats, with logits divided by `temperature`."""
    logits = np.log(np.maximum([shares for shares, _ in answers], 1e-9)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    right = logits[np.arange(len(logits)), [at for _, at in answers]]
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - right))


def temperature_of(answers: dict[str, list[Answer]]) -> float:
    """Which of `TEMPERATURES` makes the right answers likeliest, all tasks counting alike."""
    return float(min(TEMPERATURES, key=lambda tried: sum(surprise(found, tried) for found in answers.values())))


def pack(run: Path, corpus: str, out: Path, held_out: int) -> int:
    """Write the model folder `out`, and say how many bytes it has."""
    modeling_facemllm.register()
    model = AutoModelForImageTextToText.from_pretrained(run, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(run)
    answers = held_out_answers(model, processor, corpus, held_out)
    temperature = temperature_of(answers)
    for task, found in answers.items():
        before, after = surprise(found, 1), surprise(found, temperature)
        sys.stdout.write(f"{task}: {len(found)} faces, {before:.3f} nats, {after:.3f} at {temperature:.2f}\n")
    model.get_decoder().norm.weight.data /= temperature
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
    parser.add_argument("corpus", metavar="CORPUS")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument(
        "--held-out", type=int, default=2000, metavar="N", help="as of facemllm towers (default: 2000)"
    )
    args = parser.parse_args()
    size = pack(args.run, args.corpus, args.out, args.held_out)
    sys.stdout.write(f"{args.out}: {size / 1e6:.1f} MB\n")
    if size > LARGEST:
        raise SystemExit(f"{args.out}: more than {LARGEST / 1e6:.0f} MB")
