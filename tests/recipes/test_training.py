"""What a training run changes in the model, and what it leaves behind."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from facemllm_recipes.sft import train
from facemllm_recipes.strict import NothingLearned, RecipeError
from tests.recipes.tiny import picture_record, write_corpus

LORA = {"r": 4, "alpha": 8, "dropout": 0.0, "target": "language_model"}


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    return AutoModelForImageTextToText.from_pretrained(folder).state_dict()


def changed_parts(before: dict, after: dict) -> set[str]:
    assert before.keys() == after.keys()
    parts = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    return {"language_model" if part == "weight" else part for part in parts}  # the head is lm_head.weight


@pytest.fixture(scope="module")
def base(tmp_path_factory, towers) -> str:
    """A composed model, saved untrained: what stages 2 and 3 start from."""
    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

    folder = tmp_path_factory.mktemp("base")
    processor = FaceMLLMProcessor.from_towers(towers["vision"], towers["text"], pixel_shuffle_factor=2)
    torch.manual_seed(1)
    model = FaceMLLMForConditionalGeneration.from_towers(
        towers["vision"], towers["text"], tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def test_a_run_leaves_a_model_folder_its_curve_and_its_story(make_recipe):
    recipe = make_recipe(trainer={"max_steps": 30})
    run = train(recipe)
    folder = Path(recipe.output_dir)
    written = json.loads((folder / "run.json").read_text())
    assert written["steps"] == 30 and written["questions"] == run["questions"] == 30 * 4 * 4
    assert written["recipe"]["trainer"]["learning_rate"] == 5e-3
    assert written["versions"]["trl"] and written["data"][0]["fingerprint"]
    assert written["trainable_parameters"] == written["total_parameters"] > 0
    assert written["loss_history"][-1]["loss"] < written["loss_history"][0]["loss"] / 2
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob("*.bin")) and not (folder / ".staged").exists()
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert processor.tokenizer.padding_side == "left"
    assert sum(parameter.numel() for parameter in model.parameters()) == written["total_parameters"]


def test_a_run_that_lacks_only_its_model_trains_no_step_more(make_recipe):
    recipe = make_recipe(trainer={"max_steps": 8, "save_steps": 4})  # an epoch has 6
    folder = Path(recipe.output_dir)
    whole, trained = train(recipe), weights(folder)
    for name in ("run.json", "config.json", "model.safetensors"):  # what a kill after the last step leaves unwritten
        (folder / name).unlink()
    again = train(recipe)
    assert again["resumed_from"] == "checkpoint-8"
    assert (again["steps"], again["loss_history"]) == (whole["steps"], whole["loss_history"])
    assert all(torch.equal(trained[name], weight) for name, weight in weights(folder).items())


def test_loss_and_token_accuracy_are_readable_by_tensorboard(make_recipe):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = make_recipe()
    train(recipe)
    events = EventAccumulator(str(Path(recipe.output_dir) / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4]
    assert len(events.Scalars("train/mean_token_accuracy")) == 4


def test_stage_1_changes_the_projector_and_nothing_else(make_recipe, base, capsys):
    recipe = make_recipe(model={"base": base, "trainable": ["projector"]})
    run = train(recipe)
    assert changed_parts(weights(base), weights(recipe.output_dir)) == {"projector"}
    assert run["trainable_parameters"] == run["parameters"]["projector"]["total"]
    assert "projector" in capsys.readouterr().err


def test_stage_2_leaves_the_vision_tower_alone(make_recipe, base):
    recipe = make_recipe(model={"base": base, "trainable": ["projector", "language_model"]})
    train(recipe)
    assert changed_parts(weights(base), weights(recipe.output_dir)) == {"projector", "language_model"}


def test_lora_adapts_the_language_model_only_and_its_merge_answers_alike(make_recipe, base, pictures):
    from peft import PeftModel

    recipe = make_recipe(model={"base": base, "trainable": [], "lora": LORA}, trainer={"max_steps": 8})
    run = train(recipe)
    folder = Path(recipe.output_dir)
    assert changed_parts(weights(base), weights(folder)) == {"language_model"}
    assert not any("lora" in name for name in weights(folder))
    assert run["parameters"]["vision_tower"]["trainable"] == run["parameters"]["projector"]["trainable"] == 0

    adapted = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), str(folder / "adapter"))
    names = {name for name, _ in adapted.named_modules() if name.endswith("lora_A")}
    assert names and all(".language_model." in name for name in names)
    assert {name.split(".")[-2] for name in names} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        merged = AutoModelForImageTextToText.from_pretrained(folder)(input_ids=ids).logits
        torch.testing.assert_close(adapted(input_ids=ids).logits, merged, atol=1e-5, rtol=1e-5)


def test_lora_with_a_trained_projector_saves_both(make_recipe, base):
    recipe = make_recipe(model={"base": base, "trainable": ["projector"], "lora": LORA})
    train(recipe)
    assert changed_parts(weights(base), weights(recipe.output_dir)) == {"projector", "language_model"}


def test_texts_and_pictures_mix_and_held_out_rows_are_scored(make_recipe, pictures, texts):
    recipe = make_recipe(
        data=[{"path": pictures, "weight": 0.5}, {"path": texts, "weight": 0.5}],
        eval_data=[{"path": texts, "max_rows": 4}],
        trainer={"max_steps": 6, "per_device_train_batch_size": 2, "eval_strategy": "steps", "eval_steps": 3},
    )
    run = train(recipe)
    assert run["final"]["eval_loss"] > 0 and run["conversations"] == 12
    assert [fact["usable"] for fact in run["data"]] == [24, 24]


def test_a_corpus_of_unreadable_pictures_stops_the_run(make_recipe, tmp_path):
    records = [{**picture_record(i), "image": {"bytes": b"damaged", "path": None}} for i in range(48)]
    recipe = make_recipe(data=[{"path": write_corpus(records, tmp_path / "damaged")}], trainer={"max_steps": 12})
    with pytest.raises(NothingLearned, match="24 pictures"):
        train(recipe)


def test_a_corpus_of_many_unreadable_pictures_stops_the_run(make_recipe, tmp_path):
    damaged = [{**picture_record(i), "image": {"bytes": b"damaged", "path": None}} for i in range(36)]
    corpus = write_corpus([*map(picture_record, range(36, 48)), *damaged], tmp_path / "damaged")
    with pytest.raises(RecipeError, match="pictures could not be read, more than 5%") as caught:
        train(make_recipe(data=[{"path": corpus}], trainer={"max_steps": 12}))
    assert not isinstance(caught.value, NothingLearned)


def test_a_run_that_learned_nothing_is_no_success_and_neither_is_the_next(make_recipe, tmp_path):
    records = [{**picture_record(i), "image": {"bytes": b"damaged", "path": None}} for i in range(12)]
    trainer = {"max_steps": 3, "save_steps": 1, "save_strategy": "steps"}
    recipe = make_recipe(data=[{"path": write_corpus(records, tmp_path / "damaged")}], trainer=trainer)
    for _ in range(2):
        with pytest.raises(NothingLearned, match="none of 12 pictures could be read"):
            train(recipe)
    assert not {"config.json", "run.json"} & {path.name for path in Path(recipe.output_dir).iterdir()}


def test_a_weight_that_is_no_number_is_refused_before_training(make_recipe, base, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(base)
    with torch.no_grad():
        model.model.projector.linear_2.weight[0, 0] = float("nan")
    model.save_pretrained(tmp_path / "broken")
    AutoProcessor.from_pretrained(base).save_pretrained(tmp_path / "broken")
    recipe = make_recipe(model={"base": str(tmp_path / "broken"), "trainable": ["projector"]})
    with pytest.raises(RecipeError, match=r"broken: the weight model\.projector\.linear_2\.weight holds NaN"):
        train(recipe)


def test_a_loss_that_is_no_number_ends_the_run_without_a_model(make_recipe):
    recipe = make_recipe(trainer={"max_steps": 5, "learning_rate": 1e30})
    with pytest.raises(RecipeError, match=r"learning_rate: 1e\+30: the loss is NaN or infinite in step"):
        train(recipe)
    assert not (Path(recipe.output_dir) / "model.safetensors").exists()


def test_workers_collate_the_same_batches(make_recipe, tmp_path):
    alone = train(make_recipe(output_dir=str(tmp_path / "alone")))
    helped = train(make_recipe(output_dir=str(tmp_path / "helped"), trainer={"dataloader_num_workers": 2}))
    assert [entry["loss"] for entry in alone["loss_history"]] == [entry["loss"] for entry in helped["loss_history"]]


def test_texts_alone_cannot_train_a_projector(make_recipe, base, pictures, texts):
    recipe = make_recipe(model={"base": base, "trainable": ["projector"]}, data=[{"path": pictures}, {"path": texts}])
    with pytest.raises(
        RecipeError, match=r"model\.trainable: \['projector'\].*leave those out, or train the language_model"
    ):
        train(recipe)


def test_a_warm_up_below_1_is_a_share_of_all_steps(make_recipe, tmp_path):
    runs = [
        train(make_recipe(output_dir=str(tmp_path / str(warmup)), trainer={"max_steps": 4, "warmup_steps": warmup}))
        for warmup in (0.5, 2, 0)
    ]
    share, steps, none = ([entry["learning_rate"] for entry in run["loss_history"]] for run in runs)
    assert share == steps != none


def test_gradient_checkpointing_gives_the_same_losses(make_recipe, tmp_path):
    plain = train(make_recipe(output_dir=str(tmp_path / "plain")))
    saved = train(make_recipe(output_dir=str(tmp_path / "saved"), trainer={"gradient_checkpointing": True}))
    losses = [[entry["loss"] for entry in run["loss_history"]] for run in (plain, saved)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_scoring_labelled_positions_only_gives_the_loss_of_the_model_itself(make_recipe, base):
    from facemllm_recipes.conversations import ConversationCollator, ConversationTokenizer, image_expansion
    from facemllm_recipes.corpora import load_mixture

    recipe = make_recipe(model={"base": base, "trainable": ["all"]}, trainer={"max_steps": 1, "learning_rate": 0.0})
    run = train(recipe)
    processor = AutoProcessor.from_pretrained(base)
    expansion = image_expansion(processor)
    rows, _ = load_mixture(
        recipe.data, ConversationTokenizer(processor, expansion), name="data", seed=0, num_proc=None
    )
    collator = ConversationCollator(processor, expansion)
    model = AutoModelForImageTextToText.from_pretrained(base)
    losses = []
    with torch.no_grad():
        for row in rows:
            batch = collator([row])
            batch = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values", "labels")}
            losses.append(model(**batch).loss.item())
    assert min(losses) - 1e-3 <= run["loss_history"][0]["loss"] <= max(losses) + 1e-3
