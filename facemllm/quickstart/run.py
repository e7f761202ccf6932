"""The main job: draw a corpus, train a face MLLM in three stages, evaluate it after each, answer questions, report.

Every step leaves its result in the folder before the next begins, so a run that was killed goes on where it was.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets_scripts.files import (
    first_in,
    peak_memory,
    read_claim,
    read_json,
    replacing_folder,
    write_json,
    write_text,
)
from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError
from facemllm_recipes.packaged import RECIPES, tower_folder
from facemllm_recipes.run_folder import FINISHED, read_finished
from facemllm_recipes.strict import read_yaml

if TYPE_CHECKING:
    from facemllm.evaluation.benchmarks import Benchmark

STATE = "quickstart.json"
EVALUATION = "evaluation"
REQUIRED_ACCURACY = 0.85
EXAMPLE_FACES = 12
_PRIOR = 30.0  # seconds of the expected pace that the measured one is weighed against


@dataclass(frozen=True)
class Plan:
    """What a quickstart is made of; the defaults are the real one.

    Attributes:
        recipes: folder with one YAML per stage, in the order of their names.
        vision: the vision tower, a folder or `packaged:vision`.
        text: the language model, a folder or `packaged:text`.
        train_faces: faces per config of the corpus where no recipe sets `max_rows`.
        held_out_faces: faces of the test split that are asked about after each stage.
        image_size: side of the drawn pictures in pixels.
    """

    recipes: Path = RECIPES / "quickstart"
    vision: str | Path = "packaged:vision"
    text: str | Path = "packaged:text"
    train_faces: int = 6000
    held_out_faces: int = 300
    image_size: int = 64

    def stages(self) -> list[Path]:
        """The recipes, first stage first. Raises `UserError` when something packaged is missing."""
        stages = sorted(self.recipes.glob("stage*.yaml"))
        if not stages:
            raise UserError(f"{self.recipes} holds no stage*.yaml: reinstall the package, or run in a full clone")
        for tower in (tower_folder(str(self.vision), "vision"), tower_folder(str(self.text), "text")):
            if not (Path(tower) / "config.json").is_file():
                raise UserError(f"{tower} holds no tower: reinstall the package, or train it with facemllm towers")
        return stages

    def rows(self) -> dict[str, int]:
        """Training rows of each config that the recipes read."""
        rows: dict[str, int] = {}
        for stage in self.stages():
            for corpus in read_yaml(stage)["data"]:
                wanted = corpus.get("max_rows") or self.train_faces
                rows[corpus["config"]] = max(rows.get(corpus["config"], 0), wanted)
        return rows


class Progress:
    """Prints which step begins and, from how long the finished ones took, about how long is left."""

    def __init__(self, expected: dict[str, float]):
        self.expected = expected
        self.spent: dict[str, float] = {}

    def begin(self, step: str, what: str) -> None:
        number = list(self.expected).index(step) + 1
        left = sum(seconds for name, seconds in self.expected.items() if name not in self.spent)
        # This machine's pace, which the first short steps show only roughly.
        expected = sum(self.expected[name] for name in self.spent)
        left *= (sum(self.spent.values()) + _PRIOR) / (expected + _PRIOR)
        say(f"[{number}/{len(self.expected)}] {what}; about {clock(left)} left")

    def done(self, step: str, seconds: float) -> None:
        self.spent[step] = seconds


class Quickstart:
    """One run in one folder. `run` returns the report that `report.json` holds."""

    def __init__(self, out: Path, seed: int, plan: Plan):
        self.out, self.seed, self.plan = out, seed, plan
        self.stage_files = plan.stages()
        self.steps: dict[str, dict[str, Any]] = {}
        self.progress = Progress(_expected_seconds(self.stage_files))

    def run(self) -> dict[str, Any]:
        self._claim()
        self._step("corpus", "drawing faces", self._corpus)
        previous = None
        for number, file in enumerate(self.stage_files, start=1):
            trained = ", ".join(read_yaml(file)["model"]["trainable"])
            self._step(
                file.stem,
                f"stage {number} of {len(self.stage_files)} ({file.stem}): training {trained}",
                lambda file=file, previous=previous: self._train(file, previous),
            )
            previous = self._folder(file)
            self._step(
                _asking(file),
                f"asking about {self.plan.held_out_faces} held-out faces",
                lambda folder=previous: self._evaluate(folder),
            )
        self._step("answers", "answering questions about a contact sheet", self._answers)
        return self._report()

    def _claim(self) -> None:
        """Go on with a run of the same seed and plan; refuse a folder that holds anything else."""
        self.claimed = {"seed": self.seed, "plan": asdict(self.plan)}
        try:
            state = read_claim(self.out / STATE, self.claimed, lambda state: {key: state[key] for key in self.claimed})
        except ValueError as error:
            raise UserError(
                f"--out {self.out}, --seed {self.seed}: {error}; give another --out, or delete that folder"
            ) from error
        if state is not None:
            self.steps = state["steps"]
        elif other := first_in(self.out):
            raise UserError(f"--out {self.out}: holds {other}, and is not a quickstart's; give another folder")
        self._save()

    def _save(self) -> None:
        write_json(self.out / STATE, {**self.claimed, "steps": self.steps})

    def _step(self, name: str, what: str, work: Callable[[], Any]) -> None:
        if name in self.steps:
            say(f"{name}: done before, in {clock(self.steps[name]['seconds'])}")
        else:
            self.progress.begin(name, what)
            start = time.monotonic()
            work()
            self.steps[name] = {
                "seconds": round(time.monotonic() - start, 2),
                "peak_memory_bytes": peak_memory(children=True),
            }
            self._save()
        self.progress.done(name, self.steps[name]["seconds"])

    def _corpus(self) -> None:
        from datasets_scripts.build import SYNTHETIC_DESCRIPTION
        from datasets_scripts.corpus.writing import write_corpus
        from datasets_scripts.synthetic.records import DrawnFaces

        def drawn(config: str, split: str, count: int) -> DrawnFaces:
            return DrawnFaces(config, split, count, self.seed, self.plan.image_size)

        corpus = {config: {"train": drawn(config, "train", count)} for config, count in self.plan.rows().items()}
        corpus.setdefault("face_tasks", {})["test"] = drawn("face_tasks", "test", self.plan.held_out_faces)
        write_corpus(
            corpus,
            self.out / "corpus",
            name="Drawn faces",
            license="apache-2.0",
            description=SYNTHETIC_DESCRIPTION,
            people=False,
            command=f"facemllm quickstart --seed {self.seed}",
            shard_rows=1000,
            num_proc=min(2, os.cpu_count() or 1),
        )

    def _train(self, file: Path, previous: Path | None) -> None:
        from facemllm_recipes.recipe import recipe_from_dict
        from facemllm_recipes.sft import train

        data = read_yaml(file)
        if previous is None:
            data["model"] |= {"vision": str(self.plan.vision), "text": str(self.plan.text)}
        else:
            data["model"]["base"] = str(previous)
        for corpus in [*data["data"], *data.get("eval_data", [])]:
            corpus["path"] = str(self.out / "corpus")
        folder = self._folder(file)
        data |= {"output_dir": str(folder), "seed": self.seed}
        train(recipe_from_dict(data))
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    def _benchmark(self, faces: int) -> "Benchmark":
        """The benchmark `synthetic` on the first faces of the corpus's test split."""
        from facemllm.evaluation.benchmarks import Wanted, open_synthetic

        options = {"seed": str(self.seed), "size": str(self.plan.image_size)}
        return open_synthetic(Wanted(limit=faces, options=options))

    def _evaluate(self, folder: Path) -> None:
        from facemllm.evaluation.answerers import load_answerer
        from facemllm.evaluation.predict import FACES_AT_ONCE, opened, run_benchmark
        from facemllm.evaluation.report.report import write_report
        from facemllm.inference.identity import identify

        from .summary import attribute_results, mean

        asked = self.plan.held_out_faces
        benchmark = self._benchmark(asked)
        settings = {"model": folder.name, "weights": identify(folder), "benchmark": benchmark.name, "limit": asked}
        load = partial(load_answerer, "torch", str(folder), batch_size=FACES_AT_ONCE)
        run_benchmark(folder / EVALUATION, opened(benchmark), load, settings, ("generation",))
        results = attribute_results(write_report(folder / EVALUATION, progress=False))
        say(f"    mean accuracy {mean(results):.3f}, majority baseline {mean(results, 'majority'):.3f}")

    def _answers(self) -> None:
        from facemllm.evaluation.predict import PREDICTIONS
        from facemllm.evaluation.predictions import read_predictions

        from .examples import example_answers, write_faces

        last = self._folder(self.stage_files[-1])
        copy_model(last, self.out / "model")
        faces = list(self._benchmark(min(EXAMPLE_FACES, self.plan.held_out_faces)).faces())
        write_faces(faces, self.out / "faces")
        predictions = read_predictions(last / EVALUATION / PREDICTIONS)
        write_json(self.out / "faces" / "answers.json", example_answers(faces, predictions, self.seed))

    def _report(self) -> dict[str, Any]:
        from facemllm.evaluation.report.page import face_cards, page, section
        from facemllm.publishing.model_card import write_card

        from .summary import markdown, summarize

        stages = {file.stem: self._folder(file) for file in self.stage_files}
        evaluations = {name: read_json(folder / EVALUATION / "report.json") for name, folder in stages.items()}
        summary = summarize(
            {name: (read_finished(folder), evaluations[name]) for name, folder in stages.items()},
            required=REQUIRED_ACCURACY,
            seconds=sum(step["seconds"] for step in self.steps.values()),
            peak_memory_bytes=max(step["peak_memory_bytes"] for step in self.steps.values()),
            seed=self.seed,
            model=str(self.out / "model"),
        )
        write_card(summary, self.out / "model")
        last = self._folder(self.stage_files[-1]) / EVALUATION
        sections = [
            section(markdown(summary, self.plan.image_size), self.out),
            face_cards(read_json(self.out / "faces" / "answers.json"), self.out / "faces"),
            section((last / "report.md").read_text(encoding="utf-8"), last),
        ]
        shutil.copy2(last / "plots" / "attributes-generation.png", self.out / "report.png")
        write_text(self.out / "report.html", page("Face-MLLM quickstart", sections))
        write_json(self.out / "report.json", summary)
        return summary

    def _folder(self, stage: Path) -> Path:
        return self.out / "stages" / stage.stem


def copy_model(folder: Path, target: Path) -> None:
    """Copy the model of a finished run to `target`, whole or not at all: what loads, and its `run.json`."""
    if not (folder / FINISHED).is_file():
        raise UserError(
            f"{folder}: the run is not finished, its {FINISHED} is missing; delete the folder and run again"
        )
    with replacing_folder(target) as staged:
        for file in folder.iterdir():
            if file.is_file() and file.name not in ("recipe.json", "loss.png"):
                shutil.copy2(file, staged / file.name)


def _asking(stage: Path) -> str:
    """The name of the step that evaluates a stage."""
    return f"{stage.stem} on synthetic"


def clock(seconds: float) -> str:
    """A duration for people: `45 s`, `4 min 10 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def say(text: str) -> None:
    """One line of progress, on standard error."""
    print(in_terminal(text), file=sys.stderr, flush=True)


def _expected_seconds(stages: list[Path]) -> dict[str, float]:
    """What each step took on the machine of docs/results.md; only their ratios matter after the first."""
    training = {"stage1": 54.0, "stage2": 73.0, "stage3": 135.0}
    expected = {"corpus": 27.0}
    for file in stages:
        expected[file.stem] = training.get(file.stem.split("_")[0], 60.0)
        expected[_asking(file)] = 6.0
    return expected | {"answers": 1.0}
