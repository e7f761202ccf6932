"""Tiny real models (hidden size 32, two layers) and drawn corpora, saved as folders: what recipes are written for."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from datasets_scripts.schema import FEATURES, assistant_turn, make_record, user_turn
from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel
from recipes.recipe import recipe_from_dict

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 40, 200), "white": (240, 240, 240)}
QUESTIONS = ("Which colour is the picture?", "Is it red?", "Is it blue?", "What do you see?")


def answers(colour: str) -> tuple[str, ...]:
    return (colour, "yes" if colour == "red" else "no", "yes" if colour == "blue" else "no", f"a {colour} picture")


def encoded(colour: str, size: int = 16) -> dict:
    data = io.BytesIO()
    Image.new("RGB", (size, size), COLOURS[colour]).save(data, "PNG")
    return {"bytes": data.getvalue(), "path": None}


def picture_record(index: int, turns: int = 4) -> dict:
    """A one-colour picture with ``turns`` questions about it."""
    colour = list(COLOURS)[index % len(COLOURS)]
    messages = []
    for number, (question, answer) in enumerate(zip(QUESTIONS[:turns], answers(colour), strict=False)):
        messages += [user_turn(question, image=number == 0), assistant_turn(answer)]
    return make_record(
        id=f"picture-{index}", image=encoded(colour), messages=messages, task="vqa", split="train", source="test", license="x"
    )  # fmt: skip


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
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|im_end|>")


@pytest.fixture(scope="session")
def towers(tmp_path_factory) -> dict[str, str]:
    """Folders of a vision tower (16 px, 4×4 grid) and of a language model with its tokenizer, random weights."""
    folder = tmp_path_factory.mktemp("towers")
    torch.manual_seed(0)
    vision = FaceMLLMVisionConfig(
        image_size=16, stem_channels=(8, 16), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )  # fmt: skip
    FaceMLLMVisionModel(vision).save_pretrained(folder / "vision")
    tokenizer = chat_tokenizer()
    tokenizer.save_pretrained(folder / "text")
    text = Qwen3Config(
        vocab_size=len(tokenizer) + 8, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen3ForCausalLM(text).save_pretrained(folder / "text")
    return {"vision": str(folder / "vision"), "text": str(folder / "text")}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> str:
    return write_corpus([picture_record(i) for i in range(24)], tmp_path_factory.mktemp("corpora") / "pictures")


@pytest.fixture(scope="session")
def texts(tmp_path_factory) -> str:
    return write_corpus([text_record(i) for i in range(24)], tmp_path_factory.mktemp("corpora") / "texts")


@pytest.fixture(scope="session", autouse=True)
def caches_of_this_run(tmp_path_factory):
    """Tokenised corpora of a test run stay in its own folder."""
    import datasets

    earlier = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets-cache")
    yield
    datasets.config.HF_DATASETS_CACHE = earlier


@pytest.fixture
def make_recipe(towers, pictures, tmp_path):
    """A recipe that trains in a second; keyword arguments replace its top-level keys."""

    def make(**changes):
        trainer = {
            "learning_rate": 5e-3,
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "disable_tqdm": True,
            **changes.pop("trainer", {}),
        }
        model = {**towers, "pixel_shuffle_factor": 2, "trainable": ["all"]}
        recipe = {"model": model, "data": [{"path": pictures}], "output_dir": str(tmp_path / "run"), **changes}
        return recipe_from_dict({**recipe, "trainer": trainer})

    return make


@pytest.fixture
def grey_pixels() -> np.ndarray:
    return np.full((16, 16, 3), 128, dtype=np.uint8)
