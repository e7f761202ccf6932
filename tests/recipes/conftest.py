"""Tiny real models (hidden size 32, two layers) and small corpora, saved as folders: what recipes are written for."""

import pytest
import torch
from transformers import Qwen3ForCausalLM

from facemllm_recipes.recipe import recipe_from_dict
from modeling_facemllm import FaceMLLMVisionModel
from tests import tiny
from tests.recipes.tiny import chat_tokenizer, picture_record, text_record, write_corpus


@pytest.fixture(scope="session")
def towers(tmp_path_factory) -> dict[str, str]:
    """Folders of a vision tower (16 px, 4×4 grid) and of a language model with its tokenizer, random weights."""
    folder = tmp_path_factory.mktemp("towers")
    torch.manual_seed(0)
    vision = tiny.vision_config(image_size=16, stem_channels=[8, 16], **tiny.SIZES)
    FaceMLLMVisionModel(vision).save_pretrained(folder / "vision")
    tokenizer = chat_tokenizer()
    tokenizer.save_pretrained(folder / "text")
    text = tiny.text_config(vocab_size=len(tokenizer) + 8, initializer_range=0.02)  # as models are that train
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
