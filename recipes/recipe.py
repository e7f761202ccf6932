"""A training recipe: one YAML per stage, read strictly into dataclasses.

Read side by side, the recipes of a model show its method, so a recipe holds everything that decides the result and the
code holds no second place for it. Defaults are here, once. Relative paths resolve against the current directory.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .packaged import command_that_makes, find_recipe, tower_folder
from .strict import RecipeError, apply_overrides, build, convert, describe, read_yaml, unknown_key

TRAINABLE = ("vision_tower", "projector", "language_model")

TRAINER_DEFAULTS = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 1,
    "logging_steps": 10,
    "save_strategy": "steps",
    "save_steps": 500,
    "save_total_limit": 2,
    "report_to": ["tensorboard"],
    # TRL turns checkpointing on; on a small model it only costs time (18 % measured), so a recipe asks for it.
    "gradient_checkpointing": False,
}

# What the recipe or the code decides; given under `trainer:` as well they would contradict each other.
_TRAINER_RESERVED = {
    "output_dir": "set output_dir at the top of the recipe",
    "seed": "set seed at the top of the recipe",
    "data_seed": "set seed at the top of the recipe",
    "full_determinism": "runs are deterministic for a seed already",
    "max_length": "set max_length at the top of the recipe: it drops long conversations and never cuts an image",
    "model_init_kwargs": "use the keys under model",
    "trust_remote_code": "set model.trust_remote_code",
    "remove_unused_columns": "it must stay false for images",
    "packing": "packed samples would see each other's images",
    "padding_free": "TRL refuses it for images",
    "dataset_kwargs": "conversations are tokenised by recipes/conversations.py",
    "dataset_text_field": "conversations are read from the column messages",
    "dataset_num_proc": "set num_proc at the top of the recipe",
    "assistant_only_loss": "the loss is on assistant turns only, always",
    "completion_only_loss": "the loss is on assistant turns only, always",
    "chat_template_path": "the chat template comes with the processor",
    "resume_from_checkpoint": "run the same recipe again: it goes on from the last complete checkpoint",
    "load_best_model_at_end": "the model after the last step is what is saved",
    "do_train": "a recipe always trains",
    "do_eval": "give eval_data",
    "do_predict": "use facemllm evaluate",
    "warmup_ratio": "use warmup_steps: below 1 it is a share of all steps",
    "push_to_hub": "publish the finished folder",
}


@dataclass
class LoraRecipe:
    """Low-rank adapters on every linear layer of one part; merged into the weights when the model is saved."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target: Literal["language_model"] = "language_model"


@dataclass
class ModelRecipe:
    """Where the model comes from (two towers, or a finished `base`) and what of it is trained.

    `picture_kind` says that the model then knows one kind of pictures only; without it, a `base` keeps its own.
    """

    vision: str | None = None
    text: str | None = None
    base: str | None = None
    pixel_shuffle_factor: Literal[1, 2, 4] = 1
    vision_feature_layer: int | None = None
    vision_feature_select_strategy: Literal["default", "full"] | None = None
    image_size: int | None = None
    face_margin: float | None = None
    picture_kind: Literal["drawings", "photographs"] | None = None
    trainable: list[Literal["vision_tower", "projector", "language_model", "all"]] = field(default_factory=list)
    lora: LoraRecipe | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    trainable_dtype: Literal["float32", "bfloat16"] = "float32"
    attn_implementation: str | None = None
    image_processor: dict = field(default_factory=dict)
    trust_remote_code: bool = False


@dataclass
class CorpusRecipe:
    """One corpus of the mixture. `weight` is its share of the conversations; `max_rows` keeps its first rows.

    `image_root` is the folder that paths of pictures in its rows count from, where the rows do not carry them.
    """

    path: str
    config: str | None = None
    split: str = "train"
    weight: float | None = None
    max_rows: int | None = None
    image_root: str | None = None


@dataclass
class Recipe:
    """A whole training run. `trainer` goes to `trl.SFTConfig`, on top of `TRAINER_DEFAULTS`.

    `optimizer` is what `trainer.optim` names, or `muon`: Muon for hidden matrices with AdamW for the rest.
    `least_view` below 1 shows a random part of each picture, that share of its sides at least: a detector cuts faces
    out unlike a dataset.
    """

    model: ModelRecipe
    data: list[CorpusRecipe]
    output_dir: str
    trainer: dict = field(default_factory=dict)
    eval_data: list[CorpusRecipe] = field(default_factory=list)
    seed: int = 0
    optimizer: Literal["trainer", "muon"] = "trainer"
    max_length: int | None = None
    unreadable_images: Literal["skip", "raise"] = "skip"
    least_view: float = 1.0
    num_proc: int | None = None

    def to_dict(self) -> dict:
        """The recipe as plain data, defaults included."""
        return dataclasses.asdict(self)


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read the recipe `name`, a path or a packaged recipe's name, with `key.sub=value` overrides on top.

    Raises:
        RecipeError: for a missing file, bad YAML, an unknown key, a wrong type, a corpus or model not made yet, or
            values that contradict each other; one line that names the key, the value and what is allowed.
    """
    return recipe_from_dict(apply_overrides(read_yaml(find_recipe(name)), overrides))


def recipe_from_dict(data: dict) -> Recipe:
    """The recipe in plain `data`, checked as `load_recipe` checks it."""
    recipe = build(Recipe, data)
    _check_data(recipe)  # first: a model that is missing may have to be trained on them
    _check_model(recipe.model)
    recipe.trainer = _check_trainer(recipe.trainer)
    fully_trained = recipe.model.trainable and recipe.model.dtype != recipe.model.trainable_dtype
    if fully_trained and not (recipe.trainer.get("bf16") or recipe.trainer.get("fp16")):
        raise RecipeError(
            f"model.dtype: {recipe.model.dtype!r} beside model.trainable_dtype {recipe.model.trainable_dtype!r} needs "
            "mixed precision; set trainer.bf16: true, or the same type for both"
        )
    if recipe.max_length is not None and recipe.max_length < 1:
        raise RecipeError(f"max_length: {recipe.max_length} is not a number of tokens above zero; null sets no limit")
    if not 0 < recipe.least_view <= 1:
        raise RecipeError(
            f"least_view: {recipe.least_view} is no share of a picture's sides, allowed: above 0, up to 1"
        )
    if recipe.num_proc is not None and recipe.num_proc < 1:
        raise RecipeError(f"num_proc: {recipe.num_proc} is not a number of processes above zero")
    if not recipe.output_dir:
        raise RecipeError("output_dir: '' is empty; give the folder that the run writes to")
    return recipe


def _check_model(model: ModelRecipe) -> None:
    if bool(model.base) == bool(model.vision or model.text) or bool(model.vision) != bool(model.text):
        given = {name: getattr(model, name) for name in ("base", "vision", "text") if getattr(model, name)}
        raise RecipeError(f"model: got {given}; give either base, or both vision and text")
    for name in ("base", "vision", "text"):
        value = getattr(model, name)
        if value is not None:
            folder = value if name == "base" else tower_folder(value, f"model.{name}")
            _check_location(folder, f"model.{name}", owner=name == "base")
            _check_model_folder(folder, f"model.{name}")
    if model.base:
        defaults = {f.name: f.default for f in dataclasses.fields(ModelRecipe)}
        for name in ("pixel_shuffle_factor", "vision_feature_layer", "vision_feature_select_strategy", "image_size"):
            if getattr(model, name) != defaults[name]:
                raise RecipeError(
                    f"model.{name}: {getattr(model, name)!r} is set, but model.base already has its own; "
                    "it can only be chosen where vision and text are composed"
                )
    if not model.trainable and model.lora is None:
        raise RecipeError(f"model.trainable: nothing is trained; name some of {', '.join((*TRAINABLE, 'all'))}")
    if len(set(model.trainable)) != len(model.trainable) or ("all" in model.trainable and len(model.trainable) > 1):
        raise RecipeError(f"model.trainable: {model.trainable} names a part twice; name each once, or only all")
    if model.lora is not None:
        if {"language_model", "all"} & set(model.trainable):
            raise RecipeError(
                f"model.trainable: {model.trainable} trains the language model in full, and model.lora trains it by "
                "adapters; keep one of the two"
            )
        if model.lora.r < 1 or model.lora.alpha <= 0 or not 0 <= model.lora.dropout < 1:
            raise RecipeError(
                f"model.lora: {dataclasses.asdict(model.lora)}: r and alpha are above 0, dropout in [0, 1)"
            )


def _check_model_folder(value: str, where: str) -> None:
    path = _path(value, where)
    if (path / "export.json").is_file():
        raise RecipeError(
            f"{where}: {value!r} is an ONNX export, which cannot be trained; give the model that it was made from"
        )
    if path.exists() and not (path / "config.json").is_file():
        command = command_that_makes(value)
        finish = f", or finish this one first: {command}" if command else ""
        raise RecipeError(f"{where}: {value!r} has no config.json; give the folder that training left{finish}")


def _check_data(recipe: Recipe) -> None:
    if not recipe.data:
        raise RecipeError("data: [] is empty; list at least one corpus with its path")
    for name, corpora in (("data", recipe.data), ("eval_data", recipe.eval_data)):
        for position, corpus in enumerate(corpora):
            where = f"{name}.{position}"
            _check_location(corpus.path, f"{where}.path", owner=True)
            if corpus.weight is not None and not 0 < corpus.weight < float("inf"):
                raise RecipeError(f"{where}.weight: {corpus.weight} is not above zero; leave the corpus out instead")
            if corpus.max_rows is not None and corpus.max_rows < 1:
                raise RecipeError(f"{where}.max_rows: {corpus.max_rows} is not a number of rows above zero")
    weighted = [corpus.weight is not None for corpus in recipe.data]
    if any(weighted) and not all(weighted):
        raise RecipeError(
            f"data.{weighted.index(False)}.weight is missing while other corpora have one; "
            "give every corpus a weight, or none (then each is gone through once per epoch)"
        )


def _path(value: str, where: str) -> Path:
    try:
        path = Path(value).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, or a user who is unknown
        raise RecipeError(f"{where}: {value!r} is no path here ({error}); give a folder or a Hub id") from None
    return path


def _check_location(value: str, where: str, owner: bool = False) -> None:
    """Refuse what can neither be a folder here nor a Hub id: `owner/name`, without `owner` also `name`."""
    if _path(value, where).exists():
        return
    command = command_that_makes(value)
    if command:
        raise RecipeError(f"{where}: {value!r} does not exist; make it first: {command}")
    pattern = r"[\w.-]+/[\w.-]+" if owner else r"[\w.-]+/[\w.-]+|[\w-]+"
    looks_like_id = re.fullmatch(pattern, value) and not value.startswith((".", "/", "~"))
    if not looks_like_id or ("/" in value and Path(value).parent.is_dir()):
        raise RecipeError(
            f"{where}: {value!r} does not exist; give a folder (relative to {Path.cwd()}) or a Hub id (owner/name)"
        )


_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0,
    "weight_decay": 0,
    "num_train_epochs": 0.001,
}
"""The least that numbers may be: others end in a traceback, or in a run without a step."""


def _check_numbers(trainer: dict) -> None:
    for key, least in _LEAST.items():
        value = trainer.get(key)
        if isinstance(value, int | float) and not least <= value < math.inf:
            raise RecipeError(f"trainer.{key}: {value!r} is out of range, allowed: {least} or more")
    if trainer.get("max_steps", -1) not in (-1, None) and trainer["max_steps"] < 1:
        raise RecipeError(f"trainer.max_steps: {trainer['max_steps']} is out of range, allowed: 1 or more, or -1")


def _check_trainer(values: dict) -> dict:
    from trl import SFTConfig

    hints = typing.get_type_hints(SFTConfig)
    allowed = [f.name for f in dataclasses.fields(SFTConfig) if f.init and f.name not in _TRAINER_RESERVED]
    checked = dict(TRAINER_DEFAULTS)
    for key, value in values.items():
        if key in _TRAINER_RESERVED:
            raise RecipeError(f"trainer.{key}: {value!r} cannot be set here; {_TRAINER_RESERVED[key]}")
        if key not in allowed:
            raise RecipeError(unknown_key(f"trainer.{key}", key, value, allowed))
        hint = float if key == "warmup_steps" else hints[key]  # in transformers 4.57 a whole number
        checked[key] = convert(hint, value, f"trainer.{key}")
        # SFTConfig takes JSON text for its mapping fields; in YAML a mapping is written as one.
        if isinstance(value, str) and dict in typing.get_args(hint):
            raise RecipeError(f"trainer.{key}: {value!r} is text, allowed: {describe(dict)}")
    _check_numbers(checked)
    limit = checked["save_total_limit"]
    if limit is not None and limit < 2:
        raise RecipeError(
            f"trainer.save_total_limit: {limit} keeps no earlier checkpoint to go back to if the run dies while "
            "saving; allowed: 2 or more, or null"
        )
    return checked
