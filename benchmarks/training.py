"""Questions per second: TRL's one question per row against this project's conversations, side by side.

    python -m benchmarks.training [--pictures 64] [--questions 8 40] [--batch 16] [--bf16]

The same model, drawn faces, questions and answers in all ways, in interleaved rounds, so that a busy machine disturbs
all alike; CPU seconds of optimizer steps with their collation, through `Trainer.train`:

- `messages, as shipped`: `trl.SFTTrainer` and its vision collator on one question per row, loss on the answer
  (`assistant_only_loss`), TRL's own default of gradient checkpointing
- `messages`: the same without gradient checkpointing
- `prompt/completion`: the same on prompt-completion rows, TRL's quickest way
- `conversations of N`: what `recipes/sft.py` does: tokenised once, N questions about a face in one conversation;
  for each N of `--questions`
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STOCK_WAYS = ("messages, as shipped", "messages", "prompt/completion")
ASKED = ("What is the {}?", "Tell me the {}.", "Which {} does the picture show?", "And the {}?")


def build_model(vision: str, text: str) -> tuple[Any, Any]:
    """The model of two towers, folders or packaged ones, and its processor."""
    from facemllm_recipes.packaged import tower_folder
    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

    vision, text = tower_folder(vision, "--vision"), tower_folder(text, "--text")
    for folder in (vision, text):
        if not Path(folder).is_dir():
            raise SystemExit(f"training: {folder!r} is not a folder; give --vision and --text")
    processor = FaceMLLMProcessor.from_towers(vision, text)
    return FaceMLLMForConditionalGeneration.from_towers(vision, text, tokenizer=processor.tokenizer), processor


def draw_rows(count: int, questions: int) -> list[dict]:
    """`count` drawn faces of 64 px with `questions` questions and answers each (at most), PNG-encoded."""
    from datasets_scripts.synthetic.faces import draw_face, sample_labels

    rows = []
    for index in range(count):
        labels = sample_labels(index, 0, "train")
        picture = io.BytesIO()
        draw_face(labels, index, 0, "train", 64).save(picture, "PNG")
        known = [(name.replace("_", " "), value) for name, value in labels.items() if value is not None]
        rows.append(
            {
                "image": {"bytes": picture.getvalue(), "path": None},
                "pairs": [(words.format(name), value) for words in ASKED for name, value in known][:questions],
            }
        )
    return rows


def stock_rows(rows: list[dict], way: str) -> Any:
    """One question per row, in the format of TRL's vision collator."""
    from datasets import Dataset, Image

    flat = []
    for row in rows:
        for question, answer in row["pairs"]:
            asked, told = {"role": "user", "content": question}, {"role": "assistant", "content": answer}
            turns = {"messages": [asked, told]} if "messages" in way else {"prompt": [asked], "completion": [told]}
            flat.append({"image": row["image"], **turns})
    return Dataset.from_list(flat).cast_column("image", Image())


def conversation_rows(rows: list[dict], processor: Any) -> tuple[Any, Any]:
    """The same questions as conversations, tokenised; and the collator for them."""
    from datasets import Dataset

    from datasets_scripts.schema import FEATURES, assistant_turn, make_record, user_turn
    from facemllm_recipes.conversations import ConversationCollator, ConversationTokenizer, image_expansion
    from facemllm_recipes.corpora import load_corpus, tokenize_corpus
    from facemllm_recipes.recipe import CorpusRecipe

    records = []
    for index, row in enumerate(rows):
        messages = []
        for number, (question, answer) in enumerate(row["pairs"]):
            messages += [user_turn(question, image=number == 0), assistant_turn(answer)]
        about = {"task": "vqa", "split": "train", "source": "benchmark", "license": "apache-2.0"}
        records.append(make_record(id=str(index), image=row["image"], messages=messages, **about))
    expansion = image_expansion(processor)
    with tempfile.TemporaryDirectory() as folder:
        Dataset.from_list(records, features=FEATURES).to_parquet(f"{folder}/train.parquet")
        corpus = load_corpus(CorpusRecipe(folder), "data.0")
        tokenized = tokenize_corpus(corpus, ConversationTokenizer(processor, expansion), "data.0", None)
    return tokenized, ConversationCollator(processor, expansion)


def make_trainer(way: str, rows: list[dict], batch: int, bf16: bool, folder: str, towers: tuple) -> Any:
    """A trainer of one way whose `batch` is rows of that way."""
    import torch
    from trl import SFTConfig, SFTTrainer

    from facemllm_recipes.face_trainer import FaceSFTTrainer

    model, processor = build_model(*towers)
    settings = SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=batch,
        max_steps=1,
        learning_rate=1e-4,
        save_strategy="no",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        bf16=bf16,
        use_cpu=not torch.accelerator.is_available(),
        gradient_checkpointing=way == "messages, as shipped",
        max_length=None,
        remove_unused_columns=False,
        assistant_only_loss="messages" in way,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=False,
        dataloader_drop_last=True,
    )
    shared = {"model": model, "args": settings, "processing_class": processor}
    if way in STOCK_WAYS:
        return SFTTrainer(train_dataset=stock_rows(rows, way), **shared)
    tokenized, collator = conversation_rows(rows, processor)
    return FaceSFTTrainer(train_dataset=tokenized, data_collator=collator, **shared)


def cpu_seconds_of(trainer: Any, steps: int) -> float:
    """CPU seconds of `steps` optimizer steps, collation included, through `Trainer.train`."""
    trainer.args.max_steps = steps
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.process_time()
        trainer.train()
        return time.process_time() - start


def main(argv: list[str] | None = None) -> int:
    """Measure and print one JSON line per way, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pictures", type=int, default=64, help="drawn faces in the corpus")
    parser.add_argument(
        "--questions", type=int, nargs="+", default=[8, 40], help="turns of the conversations (default: 8 and 40)"
    )
    parser.add_argument("--batch", type=int, default=16, help="rows per step, of either kind")
    parser.add_argument("--steps", type=int, default=4, help="steps of conversations per round")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the median is reported")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16, all ways")
    parser.add_argument("--vision", default="packaged:vision", help="folder of a vision tower (default: %(default)s)")
    parser.add_argument("--text", default="packaged:text", help="folder of a language model (default: %(default)s)")
    args = parser.parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

    # One question per row costs the same whichever it is, so the stock ways take the shortest lists.
    lengths = dict.fromkeys(STOCK_WAYS, min(args.questions))
    lengths |= {f"conversations of {count}": count for count in args.questions}
    with tempfile.TemporaryDirectory() as folder:
        trainers, per_row = {}, {}
        for way, count in lengths.items():
            rows = draw_rows(args.pictures, count)
            per_row[way] = 1 if way in STOCK_WAYS else sum(len(row["pairs"]) for row in rows) / len(rows)
            trainers[way] = make_trainer(way, rows, args.batch, args.bf16, folder, (args.vision, args.text))
        rates = {way: [] for way in trainers}
        for trainer in trainers.values():
            cpu_seconds_of(trainer, 1)
        for _ in range(args.rounds):
            for way, trainer in trainers.items():
                questions = args.steps * args.batch * per_row[way]
                rates[way].append(questions / cpu_seconds_of(trainer, args.steps))
    medians = {way: statistics.median(values) for way, values in rates.items()}
    for way in rates:
        figures = {"way": way, "questions_per_cpu_second": round(medians[way], 1), "rounds": len(rates[way])}
        sys.stdout.write(json.dumps(figures | {"all": [round(rate, 1) for rate in rates[way]]}) + "\n")
    for way in list(rates)[len(STOCK_WAYS) :]:
        for stock in STOCK_WAYS:
            sys.stdout.write(f"{way} against {stock}: {medians[way] / medians[stock]:.1f}x\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
