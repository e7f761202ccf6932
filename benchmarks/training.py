"""Questions per second: TRL's one question per row against this project's conversations, side by side.

    python -m benchmarks.training [--pictures 64] [--questions 8 40] [--batch 16] [--bf16]

The same model, drawn faces, questions and answers for all, in interleaved rounds, so that a busy machine disturbs all
alike; CPU seconds of optimizer steps with their collation, through `Trainer.train`:

- `messages, as shipped`: `trl.SFTTrainer` and its vision collator on one question per row, loss on the answer
  (`assistant_only_loss`), TRL's own default of gradient checkpointing
- `messages`: the same without gradient checkpointing
- `prompt/completion`: the same on prompt-completion rows, TRL's quickest
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
from typing import Any

from facemllm_recipes.recipe import CorpusRecipe, ModelRecipe
from facemllm_recipes.strict import RecipeError

STOCK_METHODS = ("messages, as shipped", "messages", "prompt/completion")
ASKED = ("What is the {}?", "Tell me the {}.", "Which {} does the picture show?", "And the {}?")


def draw_rows(count: int, questions: int) -> list[dict]:
    """`count` drawn faces of 64 px with `questions` questions and answers each (at most), PNG-encoded."""
    from datasets_scripts.synthetic.faces import draw_face, sample_labels

    rows = []
    for index in range(count):
        labels = sample_labels(index, 0, "train")
        picture = io.BytesIO()
        draw_face(labels, index, 0, "train", 64).save(picture, "PNG")
        known = [(name.replace("_", " "), value) for name, value in labels.items() if value is not None]
        pairs = [(words.format(name), value) for words in ASKED for name, value in known][:questions]
        rows.append({"image": {"bytes": picture.getvalue(), "path": None}, "pairs": pairs})
    return rows


def stock_rows(rows: list[dict], method: str) -> Any:
    """One question per row, in the format of TRL's vision collator."""
    from datasets import Dataset, Image

    flat = []
    for row in rows:
        for question, answer in row["pairs"]:
            user, assistant = {"role": "user", "content": question}, {"role": "assistant", "content": answer}
            pair = {"prompt": [user], "completion": [assistant]}
            flat.append({"image": row["image"], **({"messages": [user, assistant]} if "messages" in method else pair)})
    return Dataset.from_list(flat).cast_column("image", Image())


def conversation_rows(rows: list[dict], processor: Any) -> tuple[Any, Any]:
    """The same questions as conversations, tokenised; and the collator for them."""
    from datasets import Dataset

    from datasets_scripts.schema import FEATURES, assistant_turn, make_record, user_turn
    from facemllm_recipes.conversations import ConversationCollator, ConversationTokenizer, image_expansion
    from facemllm_recipes.corpora import load_mixture

    records = []
    for index, row in enumerate(rows):
        messages = []
        for number, (question, answer) in enumerate(row["pairs"]):
            messages += [user_turn(question, image=number == 0), assistant_turn(answer)]
        about = {"task": "vqa", "split": "train", "source": "benchmark", "license": "apache-2.0"}
        records.append(make_record(id=str(index), image=row["image"], messages=messages, **about))
    expansion = image_expansion(processor)
    tokenizer = ConversationTokenizer(processor, expansion)
    with tempfile.TemporaryDirectory() as folder:
        Dataset.from_list(records, features=FEATURES).to_parquet(f"{folder}/train.parquet")
        tokenized, _ = load_mixture([CorpusRecipe(folder)], tokenizer, name="data", seed=0, num_proc=None)
    return tokenized, ConversationCollator(processor, expansion)


def make_trainer(method: str, rows: list[dict], folder: str, args: argparse.Namespace) -> Any:
    """A trainer of one method, whose batch is `args.batch` rows as that method has them."""
    import torch
    from trl import SFTConfig, SFTTrainer

    from facemllm_recipes.face_trainer import FaceSFTTrainer
    from facemllm_recipes.models import load_model

    model, processor = load_model(ModelRecipe(vision=args.vision, text=args.text))
    settings = SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=args.batch,
        learning_rate=1e-4,
        save_strategy="no",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        bf16=args.bf16,
        use_cpu=not torch.accelerator.is_available(),
        gradient_checkpointing=method == "messages, as shipped",
        max_length=None,
        remove_unused_columns=False,
        assistant_only_loss="messages" in method,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=False,
        dataloader_drop_last=True,
    )
    shared = {"model": model, "args": settings, "processing_class": processor}
    if method in STOCK_METHODS:
        return SFTTrainer(train_dataset=stock_rows(rows, method), **shared)
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
    """Measure and print one JSON line per method, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pictures", type=int, default=64, help="drawn faces in the corpus")
    parser.add_argument("--questions", type=int, nargs="+", default=[8, 40], help="turns (default: 8 and 40)")
    parser.add_argument("--batch", type=int, default=16, help="rows per step, of either kind")
    parser.add_argument("--steps", type=int, default=4, help="steps of conversations per round")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the median is reported")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16, all methods")
    parser.add_argument("--vision", default="packaged:vision", help="folder of a vision tower (default: %(default)s)")
    parser.add_argument("--text", default="packaged:text", help="folder of a language model (default: %(default)s)")
    args = parser.parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

    # One question per row costs the same whichever it is, so the stock methods take the shortest lists.
    lengths = dict.fromkeys(STOCK_METHODS, min(args.questions))
    lengths |= {f"conversations of {count}": count for count in args.questions}
    with tempfile.TemporaryDirectory() as folder:
        trainers, per_row = {}, {}
        for method, count in lengths.items():
            rows = draw_rows(args.pictures, count)
            per_row[method] = 1 if method in STOCK_METHODS else statistics.mean(len(row["pairs"]) for row in rows)
            try:
                trainers[method] = make_trainer(method, rows, folder, args)
            except RecipeError as error:
                parser.error(f"{error}; give --vision and --text")
        for trainer in trainers.values():
            cpu_seconds_of(trainer, 1)
        rates = {method: [] for method in trainers}
        for _ in range(args.rounds):
            for method, trainer in trainers.items():
                questions = args.steps * args.batch * per_row[method]
                rates[method].append(questions / cpu_seconds_of(trainer, args.steps))
    medians = {method: statistics.median(values) for method, values in rates.items()}
    for method, values in rates.items():
        figures = {"way": method, "questions_per_cpu_second": round(medians[method], 1), "rounds": len(values)}
        print(json.dumps(figures | {"all": [round(rate, 1) for rate in values]}))
    for method in list(rates)[len(STOCK_METHODS) :]:
        for stock in STOCK_METHODS:
            print(f"{method} against {stock}: {medians[method] / medians[stock]:.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
