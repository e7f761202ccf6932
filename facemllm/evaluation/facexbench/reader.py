"""FaceXBench (Narayan, VS and Patel, 2025, arXiv 2501.10360) in the layout of its public copy.

A folder `benchmark` with one JSON file per source dataset and kind of question, and the pictures that they name.
Some pictures are missing from the public copy, and options may be integers. https://github.com/Kartik-3004/facexbench
"""

import json
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datasets_scripts.shown_text import in_terminal
from datasets_scripts.sources.reading import inside
from facemllm.cli import UserError

if TYPE_CHECKING:
    from PIL import Image

Setting = Literal["zero-shot", "in-context"]

LETTERS = ("A", "B", "C", "D")
MAX_REASON = 300  # characters: a value that is quoted may be of any length
SETTINGS: tuple[Setting, ...] = ("zero-shot", "in-context")
IMAGE_KINDS = ("single", "multiple", "zero")
CATEGORIES: dict[str, tuple[str, ...]] = {
    "bias_fairness": ("age", "gender", "race"),
    "face_recognition": ("hr_fr", "lr_fr", "celebrity_identification"),
    "fas_deepfakes": ("fas", "deepfakes"),
    "attributes_expression": ("attributes", "expression"),
    "face_localization": ("headpose", "segmentation", "crowd_counting"),
    "tools_use": ("tools_retrieval",),
}
SUB_CATEGORIES = tuple(name for names in CATEGORIES.values() for name in names)


@dataclass(frozen=True)
class QuestionFile:
    """What all questions of one JSON file share; `images` is `single`, `multiple` or `zero`."""

    name: str
    category: str
    sub_category: str
    dataset: str
    images: str
    context: str
    prepend: str
    postpend: str


@dataclass(frozen=True)
class Question:
    """One question with four options; `image_paths` are relative to the folder of the JSON files."""

    id: str
    file: QuestionFile
    text: str
    options: tuple[str, ...]
    expected: str
    image_paths: tuple[str, ...]

    def prompt(self, setting: Setting = "zero-shot") -> str:
        """The words of the published prompt, which follow the pictures; the task's description only in context."""
        parts = [self.file.context, self.file.prepend if setting == "in-context" else "", self.text]
        parts += [self.file.postpend]
        parts += [f"({letter}) {option}" for letter, option in zip(LETTERS, self.options, strict=True)]
        return "".join(f"{part}\n" for part in parts if part)


@dataclass
class FaceXBench:
    """The questions that can be asked, and what keeps the others from being asked.

    Attributes:
        datasets: the source datasets of all files, also of those that are not asked.
        listed: how many questions the files hold, those that cannot be asked among them.
        missing: id of each question that is left out because pictures are missing, to the missing paths.
        malformed: JSON file or question id to what is wrong with it; none of it is asked.
        no_placeholder: how many questions about no picture lack the black one that the prompt says to ignore. They
            are asked without.
    """

    folder: Path
    questions: list[Question] = field(default_factory=list)
    datasets: set[str] = field(default_factory=set)
    listed: int = 0
    missing: dict[str, list[str]] = field(default_factory=dict)
    malformed: dict[str, str] = field(default_factory=dict)
    no_placeholder: int = 0

    def load_images(self, question: Question) -> "tuple[Image.Image, ...]":
        """The question's pictures as RGB. Raises ValueError, naming the file, for one that cannot be read."""
        from modeling_facemllm.image_loading_facemllm import load_listed_image

        return tuple(load_listed_image(path, root=self.folder) for path in question.image_paths)

    def counts(self) -> dict[str, Any]:
        """What was read and what was left out, as `run.json` and the report hold it."""
        return {
            "questions_listed": self.listed,
            "questions_asked": len(self.questions),
            "left_out_for_missing_images": len(self.missing),
            "missing_images": len({path for paths in self.missing.values() for path in paths}),
            "missing_by_file": dict(Counter(id.rpartition("/")[0] for id in self.missing)),
            "malformed": self.malformed,
            "asked_without_black_placeholder": self.no_placeholder,
        }


def read_facexbench(
    root: str | Path, sub_categories: Collection[str] | None = None, limit: int | None = None
) -> FaceXBench:
    """Read the public benchmark folder as it is; pictures are only looked for, not opened.

    Args:
        root: the clone of the repository, or the folder `benchmark` in it.
        sub_categories: only these of the 14 (`SUB_CATEGORIES`); by default all.
        limit: only so many of the questions that can be asked, spread evenly over them.

    Raises:
        UserError: when there is no such folder, an unknown sub-category is asked for, or no question can be asked.
    """
    for name in sub_categories or ():
        if name not in SUB_CATEGORIES:
            raise UserError(f"--tasks {name}: give some that FaceXBench has: {', '.join(SUB_CATEGORIES)}")
    folder = Path(root) / "benchmark" if (Path(root) / "benchmark").is_dir() else Path(root)
    files = sorted(folder.glob("*.json"))
    if not files:
        remedy = "give a clone of github.com/Kartik-3004/facexbench"
        raise UserError(f"--root {root}: has no JSON files of FaceXBench; {remedy}")
    bench = FaceXBench(folder)
    for path in files:
        _read_file(path, bench, sub_categories)
    if not bench.questions:
        reason = f"lacking pictures: {len(bench.missing)}"
        if bench.malformed:
            name, wrong = next(iter(bench.malformed.items()))
            reason = f"{in_terminal(name)[:MAX_REASON]}: {in_terminal(wrong)}"
        raise UserError(f"--root {root}: none of its {bench.listed} questions can be asked ({reason})")
    if limit is not None and limit < len(bench.questions):
        bench.questions = [bench.questions[place * len(bench.questions) // limit] for place in range(limit)]
    return bench


def _read_file(path: Path, bench: FaceXBench, sub_categories: Collection[str] | None) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shared = _shared(path.stem, content)
        entries = content["questions"].items()
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        bench.malformed[path.name] = _reason(error)
        return
    bench.datasets.add(shared.dataset)
    if sub_categories is not None and shared.sub_category not in sub_categories:
        return
    for key, entry in entries:
        bench.listed += 1
        try:
            question = _question(f"{path.stem}/{key}", shared, entry)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            bench.malformed[f"{path.stem}/{key}"] = _reason(error)
            continue
        missing = [image for image in question.image_paths if not os.path.isfile(bench.folder / image)]
        if missing and shared.images == "zero":
            bench.no_placeholder += 1
            question = replace(question, image_paths=())
        elif missing:
            bench.missing[question.id] = missing
            continue
        bench.questions.append(question)


def _shared(name: str, content: Mapping[str, Any]) -> QuestionFile:
    category, sub_category = content["category"], content["sub-category"]
    if sub_category not in CATEGORIES.get(category, ()):
        raise ValueError(f"category {category!r} with sub-category {sub_category!r} is none of the benchmark's")
    if content["num_images"] not in IMAGE_KINDS:
        raise ValueError(f"num_images is {content['num_images']!r}, not one of {', '.join(IMAGE_KINDS)}")
    words = [content["dataset"], *(content.get(key) or "" for key in ("context", "prepend_text", "postpend_text"))]
    if not all(isinstance(text, str) for text in words):
        raise ValueError("dataset, context, prepend_text or postpend_text is no text")
    "".join(words).encode()  # half of a surrogate pair is JSON, and cannot be stored
    dataset, *words = words
    return QuestionFile(name, category, sub_category, dataset, content["num_images"], *words)


def _question(id: str, shared: QuestionFile, entry: Mapping[str, Any]) -> Question:
    options = tuple(str(option).strip() for option in entry["options"])
    if len(options) != len(LETTERS):
        raise ValueError(f"has {len(options)} options, not {len(LETTERS)}")
    if entry["correct_answer_option"] not in LETTERS:
        raise ValueError(f"correct_answer_option is {entry['correct_answer_option']!r}, not one of A to D")
    paths = tuple(entry.get("image_paths") or ())
    if any(not isinstance(path, str) or inside("", path) is None for path in paths):
        raise ValueError(f"names a picture outside of the benchmark's folder: {str(paths)[:100]}")
    if not paths and shared.images != "zero":
        raise ValueError("names no picture")
    question = Question(id, shared, str(entry["question_text"]), options, entry["correct_answer_option"], paths)
    "".join([question.id, question.text, *options, *paths]).encode()
    return question


def _reason(error: Exception) -> str:
    return f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:MAX_REASON]
