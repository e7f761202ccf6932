"""Other people's trainers, as they come: two real steps on pictures with transformers' and TRL's own classes."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from datasets import Dataset
from packaging.version import Version
from peft import LoraConfig
from PIL import Image
from transformers import Trainer, TrainingArguments
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor
from tests.recipes.tiny import COLOURS, QUESTIONS

STRANGER = Path(__file__).with_name("stranger_trains.py")
PARTS = ("vision_tower", "projector", "language_model")

needs_assistant_masks = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.18"),
    reason="TRL 1.16 refuses assistant_only_loss with pictures below transformers 5.18 (SFTTrainer.__init__)",
)


@pytest.fixture
def folder(towers, tmp_path) -> str:
    """A whole model as a folder: DPO loads its reference model from where the model came from."""
    torch.manual_seed(0)
    processor = FaceMLLMProcessor.from_towers(towers["vision"], towers["text"], pixel_shuffle_factor=2)
    model = FaceMLLMForConditionalGeneration.from_towers(
        towers["vision"], towers["text"], tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )
    processor.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def settings(tmp_path) -> dict:
    """What every run shares: two steps of two rows on the CPU."""
    return {
        "output_dir": str(tmp_path / "run"),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 5e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "seed": 0,
    }


def turn(role: str, text: str) -> list[dict]:
    return [{"role": role, "content": text}]


def rows(colour: str, **columns) -> Dataset:
    """Eight pictures of one colour with the same columns beside them."""
    picture = Image.new("RGB", (16, 16), COLOURS[colour])
    return Dataset.from_list([{"images": [picture], **columns} for _ in range(8)])


PROMPT = {"prompt": turn("user", QUESTIONS[0])}
COMPLETION = {**PROMPT, "completion": turn("assistant", "red")}
PREFERENCE = {**PROMPT, "chosen": turn("assistant", "red"), "rejected": turn("assistant", "blue")}
CONVERSATION = {"messages": turn("user", QUESTIONS[0]) + turn("assistant", "red")}


def prefer_the_second(completions: list, **kwargs) -> list[float]:
    """A reward that differs within a group whatever was said, so that there is something to learn."""
    return [float(place % 2) for place in range(len(completions))]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}


def trained(trainer: Trainer) -> tuple[list[dict], set[str]]:
    """Train; what was logged at each step, and the names of the weights that moved."""
    before = weights(trainer)
    trainer.train()
    moved = {name for name, weight in weights(trainer).items() if not torch.equal(weight, before[name])}
    return [entry for entry in trainer.state.log_history if "loss" in entry], moved


def took_two_steps(logged: list[dict]) -> bool:
    return [entry["step"] for entry in logged] == [1, 2] and all(math.isfinite(entry["loss"]) for entry in logged)


def parts_of(moved: set[str]) -> set[str]:
    return {part for part in PARTS if any(part in name for name in moved)}


def sft(folder: str, settings: dict, colour: str = "red", columns: dict = CONVERSATION, peft_config=None, **kwargs):
    args = SFTConfig(max_length=None, **kwargs, **settings)
    return SFTTrainer(model=folder, args=args, train_dataset=rows(colour, **columns), peft_config=peft_config)


def dpo(folder: str, settings: dict, colour: str = "red"):
    args = DPOConfig(max_length=None, **settings)
    return DPOTrainer(model=folder, args=args, train_dataset=rows(colour, **PREFERENCE))


def grpo(folder: str, settings: dict, colour: str = "red", **kwargs):
    args = GRPOConfig(num_generations=2, max_completion_length=4, **kwargs, **settings)
    return GRPOTrainer(model=folder, args=args, train_dataset=rows(colour, **PROMPT), reward_funcs=prefer_the_second)


@pytest.mark.parametrize("columns", [CONVERSATION, COMPLETION], ids=["messages", "prompt-completion"])
def test_sft_trains_all_parts(folder, settings, columns):
    logged, moved = trained(sft(folder, settings, columns=columns))
    assert took_two_steps(logged)
    assert parts_of(moved) == set(PARTS)


@needs_assistant_masks
def test_sft_on_the_assistants_words_alone(folder, settings):
    logged, moved = trained(sft(folder, settings, assistant_only_loss=True))
    assert took_two_steps(logged)
    assert parts_of(moved) == set(PARTS)


def test_sft_sees_the_pictures(folder, settings):
    red, _ = trained(sft(folder, settings, "red"))
    blue, _ = trained(sft(folder, settings, "blue"))
    assert red[0]["loss"] != blue[0]["loss"]


def test_sft_takes_rows_without_a_picture_beside_others(folder, settings):
    picture = Image.new("RGB", (16, 16), COLOURS["red"])
    mixed = Dataset.from_list([{"images": images, **CONVERSATION} for images in ([picture], [])])
    logged, moved = trained(SFTTrainer(model=folder, args=SFTConfig(max_length=None, **settings), train_dataset=mixed))
    assert took_two_steps(logged)
    assert parts_of(moved) == set(PARTS)


def test_sft_with_lora_moves_the_adapters_alone(folder, settings):
    adapters = LoraConfig(r=2, target_modules=r".*language_model.*\.(q|k|v|o|gate|up|down)_proj")
    trainer = sft(folder, settings, peft_config=adapters)
    logged, moved = trained(trainer)
    assert took_two_steps(logged)
    assert moved and all("lora_" in name for name in moved)
    assert parts_of(moved) == {"language_model"}


def test_a_limit_that_cuts_pictures_is_refused(folder, settings):
    args = SFTConfig(max_length=4, **settings)
    with pytest.raises(ValueError, match="max_length"):
        SFTTrainer(model=folder, args=args, train_dataset=rows("red", **CONVERSATION)).train()


def test_dpo_trains_all_parts(folder, settings):
    logged, moved = trained(dpo(folder, settings))
    assert took_two_steps(logged)
    assert parts_of(moved) == set(PARTS)
    assert logged[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)  # the reference is the model itself
    assert logged[1]["loss"] < logged[0]["loss"]


def test_dpo_sees_the_pictures(folder, settings):
    red, _ = trained(dpo(folder, settings, "red"))
    blue, _ = trained(dpo(folder, settings, "blue"))
    assert red[0]["logps/chosen"] != blue[0]["logps/chosen"]


@pytest.mark.parametrize("beta", [0.0, 0.1], ids=["no-reference", "reference"])
def test_grpo_trains_all_parts(folder, settings, beta):
    logged, moved = trained(grpo(folder, settings, beta=beta))
    assert took_two_steps(logged)
    assert parts_of(moved) == set(PARTS)


def test_grpo_sees_the_pictures(folder, settings):
    red, _ = trained(grpo(folder, settings, "red"))
    blue, _ = trained(grpo(folder, settings, "blue"))
    assert red[0]["entropy"] != blue[0]["entropy"]


def test_evaluate_measures_logits_and_labels_alone(folder, settings):
    """No cache and no features of pictures: five rows come as three batches of unlike length, and are put together."""
    processor = FaceMLLMProcessor.from_pretrained(folder)
    model = FaceMLLMForConditionalGeneration.from_pretrained(folder)
    seen = []

    def collate(examples: list[dict]) -> dict:
        texts = [f"{processor.image_token} {example['question']}" for example in examples]
        batch = processor(
            images=[example["images"] for example in examples], text=texts, padding=True, return_tensors="pt"
        )
        return {**batch, "labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)}

    def measure(prediction) -> dict[str, float]:
        seen.append(prediction)
        return {"rows": float(len(prediction.predictions))}

    dataset = Dataset.from_list(
        [{"images": [Image.new("RGB", (16, 16))], "question": "red?" * (place + 1)} for place in range(5)]
    )
    args = TrainingArguments(
        output_dir=settings["output_dir"],
        per_device_eval_batch_size=2,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(model=model, args=args, eval_dataset=dataset, data_collator=collate, compute_metrics=measure)
    metrics = trainer.evaluate()
    (prediction,) = seen
    longest = collate([dataset[4]])["input_ids"].shape[1]
    assert metrics["eval_rows"] == 5
    assert math.isfinite(metrics["eval_loss"])
    assert prediction.label_ids.shape == (5, longest)
    assert prediction.predictions.shape == (5, longest, model.config.text_config.vocab_size)


def test_they_train_remote_code_by_the_name_of_its_folder(folder, settings, tmp_path):
    report = tmp_path / "report.json"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_MODULES"))}
    ran = subprocess.run(
        [sys.executable, "-P", STRANGER, folder, json.dumps(settings), report],
        cwd=tmp_path,
        env=inherited | {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    runs = json.loads(report.read_text())
    assert set(runs) == {"SFTTrainer", "DPOTrainer", "GRPOTrainer"}
    for run in runs.values():
        assert run["module"] == "transformers_modules"
        assert took_two_steps(run["logged"])
        assert run["moved"]
