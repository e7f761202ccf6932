"""Forty closed questions about a face: one packed pass against what one would do without it.

    python -m benchmarks.scoring [--bare] [--image-size 384] [--questions 40] [--rounds 3] [--json]

The model has random weights and the size of a small real one: 156 M parameters (SigLIP base with patches of 16
pixels: 576 image tokens at 384 pixels, as many as LLaVA-1.5's, and 256 at 256; a Qwen3 of 63 M), float32, one thread.
Its tokenizer has the questions' words whole, as those of real models do. The questions are the project's own on yes/no
attributes as evaluation asks them, options stated ("Does this person have bangs? Options: yes, no."), or `--bare`.
The methods, in interleaved rounds:

- `generate`: one call for each question, greedy, of as many tokens as the longest option has with its end
- `batch`: one forward pass over the prompts of all questions, each with its image; only the last position's logits.
  That gives the first token of each answer and no more
- `batch, image encoded once`: the same, the image's features repeated for each prompt
- `packed`: `score_options`

Peak memory is measured in a process for each method.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from datasets_scripts.files import peak_memory

METHODS = ("generate", "batch", "batch, image encoded once", "packed")


def face_questions(count: int | None, bare: bool = False) -> list[tuple[str, tuple[str, ...]]]:
    """`count` of the project's yes/no questions and their options, or all, as evaluation asks them.

    `bare` leaves out the words on the options.
    """
    from datasets_scripts.questions.conversations import canonical_question, expand_tasks

    asked = map(canonical_question, expand_tasks(["attributes"]))
    asked = [(text, options) for text, options in asked if options == ("yes", "no")][:count]
    return [(text.partition(" Options:")[0], options) for text, options in asked] if bare else asked


def make_methods(model: Any, processor: Any, questions: list, image_size: int) -> dict[str, Callable[[], Any]]:
    """For each method, a function that puts all questions about drawn faces to the model."""
    import torch

    from datasets_scripts.synthetic.faces import draw_face, sample_labels
    from facemllm.inference.answering import answer, user_message
    from modeling_facemllm.scoring_facemllm import ClosedQuestion

    face = draw_face(sample_labels(0, 0, "train"), 0, 0, "train", image_size)
    closed = [ClosedQuestion(text, options) for text, options in questions]
    longest = [
        1 + max(len(processor.tokenizer(option)["input_ids"]) for option in options) for _, options in questions
    ]

    def generate() -> None:
        for (text, _), tokens in zip(questions, longest, strict=True):
            answer(model, processor, [face], text, max_new_tokens=tokens)

    def batch(encoded_once: bool = False) -> None:
        inputs = processor.apply_chat_template(
            [[user_message(text, [face])] for text, _ in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        with torch.inference_mode():
            if encoded_once:
                features = model.get_image_features(inputs.pop("pixel_values")[:1])
                features.pooler_output = features.pooler_output.expand(len(questions), -1, -1)
                inputs["mm_encoder_outputs"] = {"image": features}
            model(**inputs, use_cache=False, logits_to_keep=1).logits.log_softmax(-1)

    def packed() -> None:
        model.score_options(processor, [face], closed)

    return dict(zip(METHODS, (generate, batch, lambda: batch(encoded_once=True), packed), strict=True))


def measure(methods: dict[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """Seconds of each method, wall and CPU, medians of interleaved rounds."""
    times: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
    methods["packed"]()  # which compares itself with a plain prompt once for each model
    for _ in range(rounds):
        for method, run in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            times[method].append((time.perf_counter() - wall, time.process_time() - cpu))
    seconds = {method: tuple(zip(*of, strict=True)) for method, of in times.items()}
    return [
        {"way": method, "wall_s": statistics.median(wall), "cpu_s": statistics.median(cpu), "all": cpu}
        for method, (wall, cpu) in seconds.items()
    ]


def peak_mb(method: str) -> float:
    """Peak resident memory in MB of a process that builds the model of this command and runs one method once."""
    command = [sys.executable, "-m", "benchmarks.scoring", *sys.argv[1:], "--only", method, "--json"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ran.stdout)[0]["peak_mb"]


def main() -> int:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--questions", type=int, default=40, help="yes/no questions about each face (default 40)")
    parser.add_argument("--bare", action="store_true", help="leave out what the questions say of their options")
    parser.add_argument("--image-size", type=int, default=384, help="side of the image in pixels (default 384)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the median is reported")
    parser.add_argument("--only", choices=METHODS, help="run this method once and report its peak memory")
    parser.add_argument("--json", action="store_true", help="write the figures as JSON")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: give 1 or more")
    possible = len(face_questions(None))
    if not 1 <= args.questions <= possible:
        parser.error(f"--questions {args.questions}: there are {possible}; give 1 or more of them")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # First: a new process inherits, as its own peak, what this one holds when it starts it.
    peaks = {} if args.only else {method: peak_mb(method) for method in METHODS}

    import torch

    from benchmarks.models import build_model

    torch.set_num_threads(1)
    questions = face_questions(args.questions, args.bare)
    model, processor = build_model([f"{text} {' '.join(options)}" for text, options in questions], args.image_size)
    methods = make_methods(model, processor, questions, args.image_size)
    if args.only:
        methods[args.only]()
        figures = [{"way": args.only, "peak_mb": peak_memory() / 2**20}]
    else:
        size = f"{model.num_parameters() / 1e6:.0f} M parameters, {processor.num_image_tokens} image tokens"
        sys.stderr.write(f"{size}, {len(questions)} questions\n")
        figures = [row | {"peak_mb": peaks[row["way"]]} for row in measure(methods, args.rounds)]
    if args.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0
    packed = figures[-1]
    sys.stdout.write(f"{'':28}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'packed is faster by':>21}\n")
    for row in figures:
        ratio = f"{row['wall_s'] / packed['wall_s']:.1f}x ({row['cpu_s'] / packed['cpu_s']:.1f}x CPU)"
        sys.stdout.write(f"{row['way']:28}{row['wall_s']:8.2f}{row['cpu_s']:8.2f}{row['peak_mb']:9.0f}{ratio:>21}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
