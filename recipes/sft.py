"""Supervised fine-tuning of a vision-language model on conversations about faces: one recipe, one stage.

    facemllm train face_mllm/stage1_alignment [key=value ...]
    python recipes/sft.py --config face_mllm/stage1_alignment [key=value ...]
    accelerate launch --config_file recipes/accelerate_configs/fsdp2.yaml recipes/sft.py --config ... [key=value ...]
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 recipes/sft.py --config ... [key=value ...]

Run the same command again after a kill: it goes on from the last complete checkpoint. `output_dir` ends as a model
folder that `AutoModelForImageTextToText.from_pretrained` loads, with `run.json` in it.
"""

import argparse
import importlib.util
import os
import sys
import time
import typing
import warnings
from pathlib import Path
from typing import Any

if not __package__:
    # Started as a file, from a clone where nothing need be installed: the rooms lie beside this folder, whose import
    # name is not its own.
    _folder = Path(__file__).resolve().parent
    sys.path.insert(0, str(_folder.parent))
    _spec = importlib.util.spec_from_file_location("facemllm_recipes", _folder / "__init__.py")
    sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_spec.name])

from datasets_scripts.files import package_versions, peak_memory, write_json
from datasets_scripts.shown_text import in_terminal
from facemllm_recipes import run_folder
from facemllm_recipes.recipe import Recipe, load_recipe
from facemllm_recipes.strict import NothingLearned, RecipeError


def train(recipe: Recipe) -> dict[str, Any]:
    """Train as `recipe` says and leave a model folder in `recipe.output_dir`; returns what its `run.json` holds.

    A run that was killed is taken up at its last complete checkpoint; a finished one is returned as it is. With
    several processes (`torchrun`, `accelerate launch`) every one of them calls this, and only the first writes.

    Raises:
        RecipeError: when the model or the data cannot be had, `output_dir` holds a run of another recipe, or another
            process writes it; of that, `NothingLearned` when no picture could be read.
        OSError: for a full disk; the same call goes on from the last complete checkpoint.
    """
    from accelerate import PartialState

    folder = Path(recipe.output_dir).expanduser()
    arguments = _training_arguments(recipe, folder)
    state = PartialState()
    with run_folder.writing(folder, state.is_main_process):
        return _train(recipe, folder, arguments, state)


def _train(recipe: Recipe, folder: Path, arguments: Any, state: Any) -> dict[str, Any]:
    # Not at the top: a mistake in a recipe is reported before PyTorch and TRL are loaded, and before they warn.
    import torch
    from transformers import set_seed

    from facemllm_recipes import models
    from facemllm_recipes.conversations import ConversationCollator, ConversationTokenizer, image_expansion
    from facemllm_recipes.corpora import folders_of, load_mixture
    from facemllm_recipes.face_tasks import name_face_tasks
    from facemllm_recipes.face_trainer import FaceSFTTrainer

    start, cpu_start = time.monotonic(), sum(os.times()[:4])
    set_seed(recipe.seed)
    model, processor = models.load_model(recipe.model)
    processor.tokenizer.padding_side = "right"
    expansion = image_expansion(processor, recipe.model.image_processor)
    tokenizer = ConversationTokenizer(processor, expansion, recipe.max_length)
    options = {"seed": recipe.seed, "num_proc": recipe.num_proc}
    with state.main_process_first():
        rows, facts = load_mixture(recipe.data, tokenizer, name="data", **options)
        eval_rows, eval_facts = None, []
        if recipe.eval_data:
            options |= {"name": "eval_data", "first_number": len(recipe.data)}
            eval_rows, eval_facts = load_mixture(recipe.eval_data, tokenizer, **options)
    only_projector = recipe.model.trainable == ["projector"] and recipe.model.lora is None
    if only_projector and any(fact["with_image"] < fact["usable"] for fact in facts):
        raise RecipeError(
            "model.trainable: ['projector'] learns from pictures only, and data holds conversations without one; "
            "leave those out, or train the language_model too"
        )
    with state.main_process_first():
        run_folder.claim(folder, recipe.to_dict(), facts, state.num_processes)
    finished = run_folder.read_finished(folder)
    if finished is not None:
        _say(f"{folder / run_folder.FINISHED} is there: this run is finished; delete the folder to train it again")
        return finished

    name_face_tasks(model, recipe.data)
    models.set_trainable(model, recipe.model)
    if recipe.model.lora is not None:
        model = models.add_lora(model, recipe.model)
    parameters = models.parameter_table(model)
    if state.is_main_process:
        _say(_overview(parameters, len(rows), facts))

    with state.main_process_first():
        checkpoint = run_folder.last_complete_checkpoint(folder)
    if checkpoint is not None and state.is_main_process:
        _say(f"going on from {checkpoint}")

    places = [(folders_of(corpus.path), corpus.image_root) for corpus in (*recipe.data, *recipe.eval_data)]
    collator = ConversationCollator(
        processor, expansion, recipe.model.image_processor, recipe.unreadable_images, places, recipe.least_view
    )
    trainer = FaceSFTTrainer(
        model=model,
        args=arguments,
        data_collator=collator,
        train_dataset=rows,
        eval_dataset=eval_rows,
        processing_class=processor,
        log_folder=folder / "tensorboard" if "tensorboard" in _reports(recipe) else None,
        muon=recipe.optimizer == "muon",
    )
    ready = time.monotonic()
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        conversations, questions, unreadable = trainer.totals()
        trainer.check_learned(questions, unreadable)
    except NothingLearned:
        if checkpoint is None and state.is_main_process:
            run_folder.remove_checkpoints(folder)
        raise
    train_seconds = time.monotonic() - ready

    _save_model(trainer, recipe, processor, folder)
    history = trainer.state.log_history
    final = ("loss", "mean_token_accuracy", "eval_loss", "eval_mean_token_accuracy")
    curve = ("step", "loss", "mean_token_accuracy", "learning_rate")
    run = {
        "recipe": recipe.to_dict(),
        "data": facts,
        "eval_data": eval_facts,
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "resumed_from": checkpoint.name if checkpoint else None,
        "conversations": conversations,
        "questions": questions,
        "unreadable_images": unreadable,
        "conversations_per_second": round(conversations / train_seconds, 2),
        "questions_per_second": round(questions / train_seconds, 2),
        "train_loss": result.training_loss,
        "final": {k: v for entry in history for k, v in entry.items() if k in final},
        "loss_history": [{k: entry[k] for k in curve if k in entry} for entry in history if "loss" in entry],
        "parameters": parameters,
        "total_parameters": sum(part["total"] for part in parameters.values()),
        "trainable_parameters": sum(part["trainable"] for part in parameters.values()),
        "train_seconds": round(train_seconds, 2),
        "seconds": round(time.monotonic() - start, 2),
        "cpu_seconds": round(sum(os.times()[:4]) - cpu_start, 2),
        "peak_memory_bytes": peak_memory(),
        "device": str(trainer.args.device),
        "processes": state.num_processes,
        "threads": torch.get_num_threads(),
        "bf16": trainer.args.bf16,
    }
    if state.is_main_process:
        _finish(folder, run, history)
    state.wait_for_everyone()
    return run


def _training_arguments(recipe: Recipe, folder: Path) -> Any:
    """The recipe's `trainer` as TRL's `SFTConfig`."""
    import torch
    from trl import SFTConfig

    values = dict(recipe.trainer)
    if "bf16" not in values and "fp16" not in values:
        values["bf16"] = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    if values.get("bf16") and not torch.accelerator.is_available():
        values.setdefault("use_cpu", True)  # which transformers asks for; CPUs with AVX512-BF16 gain from it
    values.setdefault("dataloader_pin_memory", torch.cuda.is_available())
    warmup = values.get("warmup_steps", 0)
    if typing.get_type_hints(SFTConfig)["warmup_steps"] is int:  # transformers 4.57: a share has its own name
        values |= {"warmup_steps": int(warmup), "warmup_ratio": warmup if warmup < 1 else 0.0}
    values["report_to"] = [name for name in _reports(recipe) if name != "tensorboard"] or "none"
    try:
        with warnings.catch_warnings():
            # TRL 1.16 still reads gradient_checkpointing, which transformers 5.23 calls activation_checkpointing.
            warnings.filterwarnings("ignore", ".*gradient_checkpointing.*", FutureWarning)
            return SFTConfig(
                output_dir=str(folder / run_folder.CHECKPOINTS),
                seed=recipe.seed,
                data_seed=recipe.seed,
                max_length=None,
                packing=False,
                remove_unused_columns=False,
                dataset_kwargs={"skip_prepare_dataset": True},
                **values,
            )
    except (ValueError, TypeError) as error:
        raise RecipeError(f"trainer: {' '.join(str(error).split())}") from error


def _reports(recipe: Recipe) -> list[str]:
    wanted = recipe.trainer["report_to"]
    return [name for name in ([wanted] if isinstance(wanted, str) else wanted or []) if name != "none"]


def _save_model(trainer: Any, recipe: Recipe, processor: Any, folder: Path) -> None:
    """Write the trained model into `folder` as a plain model folder; adapters are merged and also kept beside it."""
    from peft import PeftModel
    from transformers import set_seed

    from facemllm_recipes.face_tasks import name_face_tasks
    from facemllm_recipes.models import load_model

    staged = folder / ".staged"
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    model = trainer.accelerator.unwrap_model(trainer.model)
    if recipe.model.lora is not None:
        trainer.save_model(str(staged / "adapter"))
        if sharded and trainer.is_world_process_zero():
            # Sharded weights cannot be merged in place: the model once more, whole, on the CPU.
            set_seed(recipe.seed)
            model, _ = load_model(recipe.model)
            name_face_tasks(model, recipe.data)
            model = PeftModel.from_pretrained(model, str(staged / "adapter"))
    elif sharded:
        trainer.save_model(str(staged))
    if trainer.is_world_process_zero():
        if recipe.model.lora is not None:
            model = model.merge_and_unload()
        if recipe.model.lora is not None or not sharded:
            model.save_pretrained(staged)
        processor.tokenizer.padding_side = "left"  # as generation in batches needs it
        processor.save_pretrained(staged)
        for pickled in staged.rglob("training_args.bin"):  # run.json says it all
            pickled.unlink()
        run_folder.put_in_place(staged, folder)
    trainer.accelerator.wait_for_everyone()


def _finish(folder: Path, run: dict, history: list[dict]) -> None:
    run_folder.plot_losses(history, folder / "loss.png", title=f"{folder.name}: {run['steps']} steps")
    run["git_revision"] = run_folder.git_revision()
    run["versions"] = package_versions("torch", "transformers", "trl", "peft", "accelerate", "datasets", "deepspeed")
    write_json(folder / run_folder.FINISHED, run)
    _say(
        f"{folder}: {run['steps']} steps, {run['questions']} questions in {run['train_seconds']:.0f} s "
        f"({run['questions_per_second']:.1f} questions/s), loss {run['final'].get('loss', run['train_loss']):.4f}, "
        f"token accuracy {run['final'].get('mean_token_accuracy', float('nan')):.3f}"
        + (f"; {run['unreadable_images']} unreadable pictures skipped" if run["unreadable_images"] else "")
    )


def _overview(parameters: dict[str, dict[str, int]], conversations: int, facts: list[dict]) -> str:
    lines = [f"{'part':<16}{'parameters':>16}{'trainable':>16}"]
    lines += [f"{part:<16}{of['total']:>16,}{of['trainable']:>16,}" for part, of in parameters.items()]
    for fact in facts:
        corpus = f"{fact['path']} {fact['config'] or ''} {fact['split']}"
        lines.append(f"{corpus}: {fact['usable']:,} of {fact['rows']:,} conversations")
    return "\n".join([*lines, f"an epoch: {conversations:,} conversations"])


def _say(text: str) -> None:
    sys.stderr.write(f"{in_terminal(text, lines=True)}\n")


def main(argv: list[str] | None = None) -> int:
    """Command line of `recipes/sft.py`; exit code 2 for a mistake in the recipe, 1 for nothing learned."""
    parser = argparse.ArgumentParser(
        description="Run one training stage from a recipe.",
        epilog="example: python recipes/sft.py --config face_mllm/stage1_alignment output_dir=runs/one",
    )
    parser.add_argument("--config", required=True, help="the recipe: a YAML file, or a packaged one's name")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change a key: trainer.learning_rate=1e-4")
    args = parser.parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        train(load_recipe(args.config, args.overrides))
    except (RecipeError, OSError) as error:
        _say(f"sft.py: {' '.join(str(error).split())}")
        return getattr(error, "exit_code", 2)
    except KeyboardInterrupt:
        _say("sft.py: interrupted; the same command goes on from the last complete checkpoint")
        return 130
    finally:
        # Without this, a run of several processes ends with a warning, or hangs when one of them failed.
        torch = sys.modules.get("torch")
        if torch and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
