"""vLLM and SGLang: their calls, after their sources, on a saved folder in a process without this project.

Neither engine runs here; `engines.py` says what is emulated.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from PIL import Image
from safetensors.torch import load_file
from transformers import SiglipVisionConfig

from tests import tiny
from tests.recipes.tiny import chat_tokenizer

pytestmark = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.16"),
    reason="no vLLM or SGLang whose Transformers backend is emulated here runs with transformers below 5.16",
)

SCRIPT = Path(__file__).with_name("engines.py")
NEW_TOKENS = 6
TOWERS = {
    "own-tied": tiny.vision_config,
    "siglip-untied": lambda: SiglipVisionConfig(
        image_size=32, patch_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    ),
}


@pytest.fixture(scope="module", params=TOWERS)
def saved(request, tmp_path_factory):
    """A model folder, the model in it, and three prompts about two, one and no pictures."""
    folder = tmp_path_factory.mktemp("engines")
    text = tiny.text_config(
        vocab_size=512,
        max_position_embeddings=256,
        rope_theta=100.0,
        tie_word_embeddings=request.param.endswith("-tied"),
    )
    model, processor = tiny.make_model(TOWERS[request.param](), text, chat_tokenizer())
    model.eval().save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    pictures = []
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (40, 30 + 10 * seed, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{seed}.png")
        pictures.append(str(folder / f"{seed}.png"))
    prompts = [
        {"text": "<|im_start|>user\n<image>\n<image>\nIs it red?<|im_end|>\n", "images": pictures[:2]},
        {"text": "<|im_start|>user\nIs it blue?<|im_end|>\n", "images": []},
        {"text": "<|im_start|>user\n<image>\nWhat do you see?<|im_end|>\n", "images": pictures[2:]},
    ]
    return SimpleNamespace(folder=folder / "model", model=model, processor=processor, prompts=prompts)


@pytest.fixture(scope="module")
def plain(saved):
    """What the model itself makes of the prompts: hidden states and logits of all tokens, and greedy tokens."""
    hidden, logits, ids, tokens = [], [], [], []
    for prompt in saved.prompts:
        inputs = saved.processor(
            images=[Image.open(path) for path in prompt["images"]] or None, text=prompt["text"], return_tensors="pt"
        )
        with torch.no_grad():
            hidden.append(saved.model.model(**inputs).last_hidden_state[0])
            logits.append(saved.model(**inputs).logits[0])
            length = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS}
            said = saved.model.generate(**inputs, do_sample=False, eos_token_id=None, **length)
        ids.append(inputs["input_ids"][0].tolist())
        tokens.append(said[0, len(ids[-1]) :].tolist())
    return SimpleNamespace(hidden=torch.cat(hidden), logits=torch.cat(logits), ids=ids, tokens=tokens)


@pytest.fixture(scope="module", params=["vllm", "sglang"])
def served(request, saved, tmp_path_factory):
    """What the engine's calls make of them."""
    home = tmp_path_factory.mktemp(request.param)
    report, tensors = home / "report.json", home / "tensors.safetensors"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_MODULES"))}
    ran = subprocess.run(
        [sys.executable, "-P", SCRIPT, request.param, saved.folder, json.dumps(saved.prompts), report, tensors],
        cwd=home,
        env=inherited | {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(home / "modules")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return SimpleNamespace(**json.loads(report.read_text()), **load_file(tensors))


def test_the_override_gives_the_model_without_its_head(served):
    assert (served.module, vars(served)["class"]) == ("transformers_modules", "FaceMLLMModel")


def test_every_weight_finds_its_place_by_name(served):
    assert served.unexpected == []
    assert served.missing == []


def test_prompts_become_the_processors_tokens(served, plain):
    assert served.input_ids == plain.ids


def test_the_first_output_is_the_hidden_states_of_a_flat_batch(served, plain):
    torch.testing.assert_close(served.hidden, plain.hidden, atol=1e-4, rtol=1e-4)


def test_the_engines_own_head_gives_the_models_logits(served, plain):
    torch.testing.assert_close(served.logits, plain.logits, atol=1e-4, rtol=1e-4)


def test_it_generates_the_models_tokens_from_its_own_cache(served, plain):
    assert served.tokens == plain.tokens
    assert len({tuple(tokens) for tokens in plain.tokens}) == len(
        plain.tokens
    )  # one answer to all would prove nothing


def test_two_stages_of_a_pipeline_give_what_one_gives(served):
    torch.testing.assert_close(served.from_stages, served.hidden, atol=1e-5, rtol=1e-5)


def test_in_bfloat16_no_weight_stays_in_another_type(served):
    assert served.dtypes == ["torch.bfloat16"]
    assert served.in_bfloat16.dtype == torch.bfloat16
    assert served.in_bfloat16.isfinite().all()


def test_the_tensor_parallel_plan_names_the_language_models_layers(served):
    styles = {
        name: next((style for pattern, style in served.tp_plan.items() if re.fullmatch(pattern, name)), None)
        for name in served.linears
    }
    language = {style for name, style in styles.items() if name.startswith("language_model.")}
    others = {style for name, style in styles.items() if not name.startswith("language_model.")}
    assert language == {"colwise", "rowwise"}
    assert others == {None}  # held whole by every process


def test_the_encoder_of_pictures_is_told_from_the_language_model(served, saved):
    assert served.encoder == type(saved.model.model.vision_tower).__name__
