"""A model on FaceXBench: its questions asked in one of the two published settings, answers written down as they come.

Zero-shot is the setting of the published tables; `in-context` puts the task's description before the question.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facemllm.cli import NothingDone, UserError
from facemllm.evaluation.answers import Answer, Answerer, AskedFace, AskedQuestion
from facemllm.evaluation.predictions import Prediction, PredictionLog, TaskSpec, Way
from facemllm.evaluation.registry import OpenedBenchmark

from .answers import safe
from .reader import LETTERS, SETTINGS, FaceXBench, Question, Setting, read_facexbench

if TYPE_CHECKING:
    from facemllm.evaluation.benchmarks import Wanted

NAME, ITEMS = "facexbench", "questions"
MAX_NEW_TOKENS = 128
"""Room for a sentence or two before the letter; the prompt asks for the letter alone."""
QUESTIONS_AT_ONCE = 16

PROTOCOL = (
    "The prompt is the pictures, then the words in the published order: the tools' description where there is one, in "
    "the in-context setting the task's description, the question, the request for a letter, the options (A) to (D). "
    f"Scoring compares the likelihood of the four letters as the whole answer. Generation is greedy, {MAX_NEW_TOKENS} "
    "tokens at most, read strictly (as published) and safely."
)


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `facemllm evaluate` that only this benchmark has."""
    parser.add_argument("--setting", choices=SETTINGS, default=SETTINGS[0], help=f"{NAME}: (default: {SETTINGS[0]})")
    parser.add_argument(
        "--exclude",
        nargs="+",
        default=[],
        metavar="WHAT",
        help=f"{NAME}: report also without the questions of these source datasets (fairface, rafdb), or that show "
        "a picture of these corpora or folders",
    )


def open_benchmark(wanted: "Wanted") -> OpenedBenchmark:
    """The benchmark in `wanted.root`. Raises `UserError` as `read_facexbench` and `find_overlap` do.

    The command is not recorded: the tables are of the last `--exclude`, the answers of the first command.
    """
    from .overlap import find_overlap

    if wanted.root is None:
        raise UserError(f"{NAME} needs --root DIR: a clone of its repository")
    for word, given in (("--split", wanted.split), ("--no-race", not wanted.race), ("--set", wanted.options)):
        if given:
            raise UserError(f"{word}: {NAME} has one split and no settings of this kind; choose with --tasks")
    bench = read_facexbench(wanted.root, wanted.tasks, wanted.limit)
    overlap, setting = find_overlap(bench, wanted.own["exclude"]), wanted.own["setting"]

    def ask(load_answerer: Callable[[], Answerer], log: PredictionLog, ways: Sequence[Way]) -> dict[str, Any]:
        unreadable = ask_facexbench(bench, load_answerer(), log, ways, setting)
        if not len(log):
            raise NothingDone(f"--root {wanted.root}: no question could be asked ({next(iter(unreadable.values()))})")
        return {"counts": _counts(bench, unreadable), "questions": bench.counts() | {"unreadable": unreadable}}

    return OpenedBenchmark(
        settings={"split": "test", "setting": setting, "tasks": wanted.tasks, "questions": len(bench.questions)},
        described={
            "benchmark": NAME,
            "title": f"FaceXBench, {setting}",
            "protocol": PROTOCOL,
            "tasks": [spec.as_json() for spec in task_specs(bench)],
            "groups": [],
        },
        ask=ask,
        noted={"overlap": overlap} if overlap else {},
        default_ways=("generation",),
    )


def report_figures(predictions: Sequence[Prediction], run: Mapping[str, Any], **drawing: int) -> dict[str, Any]:
    """The benchmark's own tables: its answers are letters, which have no classes in common."""
    from .tables import facexbench_section, task_figures_of

    setting = run["settings"]["setting"]
    section = facexbench_section(predictions, run.get("overlap"), run.get("questions"), setting, **drawing)
    return {"tasks": task_figures_of(section), "means": {}, NAME: section}


def report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The tables as text."""
    from .tables import facexbench_markdown

    return facexbench_markdown(report[NAME])


def _counts(bench: FaceXBench, unreadable: Mapping[str, str]) -> dict[str, Any]:
    """As `predict.Counts`. What the public copy lacks is left out; what is broken in it could not be read."""
    questions = sum("/" in place for place in bench.malformed)
    wrong = {
        "malformed JSON file": len(bench.malformed) - questions,
        "malformed question": questions,
        "question with an unreadable picture": len(unreadable),
    }
    left_out = {"question with a missing picture": len(bench.missing)}
    return {
        "faces": len(bench.questions) - len(unreadable),
        "unlabelled": 0,
        "unreadable": {reason: count for reason, count in wrong.items() if count},
        "left_out": {reason: count for reason, count in left_out.items() if count},
    }


def task_specs(bench: FaceXBench) -> list[TaskSpec]:
    """A task for each sub-category asked, with the four letters as its options."""
    names = dict.fromkeys(question.file.sub_category for question in bench.questions)
    return [TaskSpec(name, "options", LETTERS) for name in names]


def ask_facexbench(
    bench: FaceXBench, answerer: Answerer, log: PredictionLog, ways: Sequence[Way], setting: Setting
) -> dict[str, str]:
    """Ask every question that `log` does not hold, in each of `ways`; pictures are opened as they are needed.

    Returns:
        Id of each question that could not be asked, to what is wrong with its pictures.
    """
    from tqdm import tqdm

    unreadable: dict[str, str] = {}
    for way in ways:
        left = [question for question in bench.questions if (question.id, question.file.sub_category, way) not in log]
        done = len(bench.questions) - len(left)
        with tqdm(total=len(bench.questions), initial=done, desc=f"FaceXBench, {way}", unit="question") as bar:
            for start in range(0, len(left), QUESTIONS_AT_ONCE):
                questions = left[start : start + QUESTIONS_AT_ONCE]
                log.append(_answered(bench, answerer, questions, way, setting, unreadable))
                bar.update(len(questions))
    return unreadable


def _answered(
    bench: FaceXBench,
    answerer: Answerer,
    questions: Sequence[Question],
    way: Way,
    setting: Setting,
    unreadable: dict[str, str],
) -> list[Prediction]:
    asked: list[tuple[Question, AskedFace]] = []
    for question in questions:
        try:
            images = bench.load_images(question)
        except ValueError as error:
            unreadable[question.id] = str(error)
            continue
        prompt = AskedQuestion(question.file.sub_category, question.prompt(setting), LETTERS, MAX_NEW_TOKENS)
        asked.append((question, AskedFace(question.id, images, (prompt,))))
    answers = answerer.answer([face for _, face in asked], way)
    return [_prediction(question, way, answer) for (question, _), (answer,) in zip(asked, answers, strict=True)]


def _prediction(question: Question, way: Way, answer: Answer) -> Prediction:
    if answer.probabilities is not None:
        predicted = max(LETTERS, key=answer.probabilities.__getitem__)
    else:
        predicted = safe(answer.text or "", question.options)
    file = question.file
    extra: dict[str, Any] = {"category": file.category, "dataset": file.dataset, "images": file.images}
    return Prediction(
        id=question.id,
        task=file.sub_category,
        way=way,
        expected=question.expected,
        predicted=predicted,
        probabilities=answer.probabilities,
        text=answer.text,
        extra=extra | {"options": list(question.options)},
    )
