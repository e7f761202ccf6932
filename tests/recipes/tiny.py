"""One-colour pictures with questions about them, as records, and a tokenizer that knows their words."""

import io
from pathlib import Path

from datasets import Dataset
from PIL import Image
from transformers import PreTrainedTokenizerFast

from datasets_scripts.schema import FEATURES, assistant_turn, make_record, user_turn
from tests.tiny import byte_tokenizer

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 40, 200), "white": (240, 240, 240)}
QUESTIONS = ("Which colour is the picture?", "Is it red?", "Is it blue?", "What do you see?")


def answers(colour: str) -> tuple[str, ...]:
    return (colour, "yes" if colour == "red" else "no", "yes" if colour == "blue" else "no", f"a {colour} picture")


def encoded(colour: str, size: int = 16) -> dict:
    data = io.BytesIO()
    Image.new("RGB", (size, size), COLOURS[colour]).save(data, "PNG")
    return {"bytes": data.getvalue(), "path": None}


def picture_record(index: int, turns: int = 4) -> dict:
    """A one-colour picture with `turns` questions about it."""
    colour = list(COLOURS)[index % len(COLOURS)]
    messages = []
    for number, (question, answer) in enumerate(zip(QUESTIONS[:turns], answers(colour), strict=False)):
        messages += [user_turn(question, image=number == 0), assistant_turn(answer)]
    return make_record(
        id=f"picture-{index}",
        image=encoded(colour),
        messages=messages,
        task="vqa",
        split="train",
        source="test",
        license="x",
    )


def text_record(index: int) -> dict:
    colour = list(COLOURS)[index % len(COLOURS)]
    messages = [user_turn(f"Name a colour like {colour}."), assistant_turn(f"{colour} it is.")]
    return make_record(id=f"text-{index}", messages=messages, task="text", split="train", source="test", license="x")


def write_corpus(records: list[dict], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(records, features=FEATURES).to_parquet(str(folder / "train-00000-of-00001.parquet"))
    return str(folder)


def chat_tokenizer() -> PreTrainedTokenizerFast:
    texts = [text for colour in COLOURS for text in (*QUESTIONS, *answers(colour), "user", "assistant")]
    return byte_tokenizer(texts, pad_token="<|pad|>", eos_token="<|im_end|>")
