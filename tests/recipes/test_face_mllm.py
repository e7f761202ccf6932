"""The three stages, as their recipes stand, one after the other on tiny towers."""

from pathlib import Path

import pytest
import yaml

from facemllm_recipes.recipe import load_recipe
from facemllm_recipes.sft import train

RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "face_mllm"
STAGES = ("stage1_alignment", "stage2_vqa", "stage3_face_tasks")


@pytest.mark.slow
def test_each_stage_starts_from_the_folder_of_the_one_before(towers, pictures, texts, tmp_path):
    here = {1: [f"model.vision={towers['vision']}", f"model.text={towers['text']}"]}
    here |= {n: [f"model.base={tmp_path}/stage{n - 1}", f"data.1.path={texts}", "data.1.config=null"] for n in (2, 3)}
    here[3] += [f"data.2.path={pictures}", "data.2.config=null"]
    trained = []
    for number, stage in enumerate(STAGES, start=1):
        small = ["trainer.max_steps=2", "trainer.per_device_train_batch_size=4", "trainer.dataloader_num_workers=0"]
        corpus = [f"data.0.path={pictures}", "data.0.config=null", f"output_dir={tmp_path}/stage{number}"]
        run = train(load_recipe(RECIPES / f"{stage}.yaml", [*here[number], *small, *corpus]))
        trained.append({part for part, count in run["parameters"].items() if count["trainable"]})
    assert trained == [
        {"projector"},
        {"projector", "language_model"},
        {"projector", "language_model", "vision_tower"},
    ]


def test_stages_2_and_3_differ_in_what_learns_and_on_which_data_only():
    second, third = (yaml.safe_load((RECIPES / f"{stage}.yaml").read_text()) for stage in STAGES[1:])
    for recipe in (second, third):
        del recipe["model"]["base"], recipe["model"]["trainable"], recipe["data"], recipe["output_dir"]
    assert second == third


def test_the_schedule_is_llava_1_5s():
    stages = [yaml.safe_load((RECIPES / f"{stage}.yaml").read_text())["trainer"] for stage in STAGES]
    assert [stage["learning_rate"] for stage in stages] == [1e-3, 2e-5, 2e-5]
    assert all(
        (s["lr_scheduler_type"], s["warmup_steps"], s["num_train_epochs"]) == ("cosine", 0.03, 1) for s in stages
    )
