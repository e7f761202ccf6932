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


def build_model(texts: list[str], image_size: int, **text_sizes: int) -> tuple[Any, Any]:
    """The model, and a processor whose tokenizer knows the words of `texts`; `text_sizes` are other ones of the
    language model, as its configuration calls them."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, SiglipVisionConfig

    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

    torch.manual_seed(0)
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        [*texts, "user\nassistant"],
        trainers.BpeTrainer(vocab_size=4000, initial_alphabet=alphabet, show_progress=False),
    )
    vision = SiglipVisionConfig(
        image_size=image_size,
        patch_size=16,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
    )
    sizes = {
        "vocab_size": 24_000,
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 16,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 64,
    }
    text = Qwen3Config(**sizes | text_sizes, max_position_embeddings=4096, tie_word_embeddings=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>")
    processor = FaceMLLMProcessor.from_towers(vision, tokenizer)
    return FaceMLLMForConditionalGeneration.from_towers(vision, text, tokenizer=processor.tokenizer), processor


def yes_or_no_questions() -> list[tuple[str, tuple[str, ...]]]:
    """The project's yes/no questions and their options, as evaluation asks them."""
    from datasets_scripts.questions.conversations import canonical_question, expand_tasks

    asked = map(canonical_question, expand_tasks(["attributes"]))
    return [(text, options) for text, options in asked if options == ("yes", "no")]


def face_questions(count: int, bare: bool = False) -> list[tuple[str, tuple[str, ...]]]:
    """`count` of the project's yes/no questions, as evaluation asks them or without the words on their options."""
    asked = yes_or_no_questions()[:count]
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

    def prompts() -> Any:
        return processor.apply_chat_template(
            [[user_message(text, [face])] for text, _ in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )

    def generate() -> None:
        for (text, _), tokens in zip(questions, longest, strict=True):
            answer(model, processor, [face], text, max_new_tokens=tokens)

    def batch(encoded_once: bool = False) -> None:
        inputs = prompts()
        with torch.inference_mode():
            if encoded_once:
                features = model.get_image_features(inputs.pop("pixel_values")[:1])
                features.pooler_output = features.pooler_output.expand(len(questions), -1, -1)
                inputs["mm_encoder_outputs"] = {"image": features}
            model(**inputs, use_cache=False, logits_to_keep=1).logits.log_softmax(-1)

    def packed() -> None:
        model.score_options(processor, [face], closed)

    return dict(zip(METHODS, (generate, batch, lambda: batch(encoded_once=True), packed), strict=True))


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of each method, wall and CPU, medians of interleaved rounds; the packed method runs once before them."""
    import torch

    torch.set_num_threads(1)
    questions = face_questions(args.questions, args.bare)
    model, processor = build_model([f"{text} {' '.join(options)}" for text, options in questions], args.image_size)
    methods = make_methods(model, processor, questions, args.image_size)
    if args.only:
        methods[args.only]()
        return [{"way": args.only, "peak_mb": peak_memory() / 2**20}]
    wall: dict[str, list[float]] = {method: [] for method in METHODS}
    cpu: dict[str, list[float]] = {method: [] for method in METHODS}
    for turn in range(args.rounds + 1):
        for method, run in methods.items():
            if turn == 0 and method != "packed":  # which compares itself with a plain prompt once for each model
                continue
            start = time.perf_counter(), time.process_time()
            run()
            if turn:
                wall[method].append(time.perf_counter() - start[0])
                cpu[method].append(time.process_time() - start[1])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    sys.stderr.write(
        f"{parameters / 1e6:.0f} M parameters, {processor.num_image_tokens} image tokens, {len(questions)} questions\n"
    )
    return [
        {
            "way": method,
            "wall_s": statistics.median(wall[method]),
            "cpu_s": statistics.median(cpu[method]),
            "all": cpu[method],
        }
        for method in METHODS
    ]


def peak_mb(method: str, args: argparse.Namespace) -> float:
    """Peak resident memory in MB of a process that builds the model and runs one method once."""
    command = [sys.executable, "-m", "benchmarks.scoring", "--only", method, "--json"]
    command += [
        "--questions",
        str(args.questions),
        "--image-size",
        str(args.image_size),
        *(["--bare"] if args.bare else []),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)[0]["peak_mb"]


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--questions", type=int, default=40, help="yes/no questions about each face (default 40)")
    parser.add_argument("--bare", action="store_true", help="leave out what the questions say of their options")
    parser.add_argument("--image-size", type=int, default=384, help="side of the image in pixels (default 384)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the median is reported")
    parser.add_argument("--only", choices=METHODS, help="run this method once and report its peak memory")
    parser.add_argument("--json", action="store_true", help="write the figures as JSON")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: give 1 or more")
    possible = len(yes_or_no_questions())
    if not 1 <= args.questions <= possible:
        parser.error(f"--questions {args.questions}: there are {possible}; give 1 or more of them")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # First: a new process inherits, as its own peak, what this one holds when it starts it.
    peaks = {} if args.only else {method: peak_mb(method, args) for method in METHODS}
    figures = [{**row, **({"peak_mb": peaks[row["way"]]} if peaks else {})} for row in measure(args)]
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
