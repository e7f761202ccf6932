"""FaceXBench in lmms-eval: its public folder as a data set of questions, and the two readings of what was written.

The environment variable FACEMLLM_FACEXBENCH names the folder that `python -m facemllm.lmms_eval facexbench` wrote.
The YAML files name what is here.
"""

import json
import os
from pathlib import Path
from typing import Any

from datasets_scripts.files import replacing
from facemllm.evaluation.facexbench.answers import safe, strict
from facemllm.evaluation.facexbench.reader import read_facexbench

QUESTIONS = "test.jsonl"

Doc = dict[str, Any]


def write_questions(root: Path, out: Path) -> dict[str, Any]:
    """Write `test.jsonl`: one row per question that can be asked, pictures as absolute paths.

    Returns:
        The counts of `FaceXBench.counts`: what was read and what was left out.

    Raises:
        UserError: when `root` is no FaceXBench.
    """
    bench = read_facexbench(root)
    with replacing(out / QUESTIONS, "w") as rows:
        for question in bench.questions:
            row = {
                "id": question.id,
                "category": question.file.category,
                "sub_category": question.file.sub_category,
                "folder": str(bench.folder.resolve()),
                "images": list(question.image_paths),
                "zero_shot": question.prompt("zero-shot"),
                "in_context": question.prompt("in-context"),
                "options": list(question.options),
                "expected": question.expected,
            }
            rows.write(json.dumps(row, ensure_ascii=False) + "\n")
    return bench.counts()


def images(doc: Doc) -> list[Any]:
    """The question's pictures, none to several. Raises `ValueError`, naming the file, for one that is broken."""
    from modeling_facemllm.image_loading_facemllm import load_listed_image

    return [load_listed_image(path, root=doc["folder"]) for path in doc["images"]]


def figures(doc: Doc, results: list[str]) -> dict[str, float]:
    """Right and unread, by FaceXBench's own reading (to compare with published numbers) and by the safer one."""
    found = {"strict": strict(results[0], doc["options"]), "safe": safe(results[0], doc["options"])}
    return {
        **{f"accuracy_{name}": float(letter == doc["expected"]) for name, letter in found.items()},
        **{f"unparsed_{name}": float(letter is None) for name, letter in found.items()},
    }


def __getattr__(name: str) -> Any:
    """`DATA_FILES`, what `load_dataset("json", ...)` reads: a YAML file can only name what a module holds.

    Raises:
        SystemExit: where there is no such file. lmms-eval would try an error five times, and end with "RetryError".
    """
    if name != "DATA_FILES":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    # read at each access: the folder may change
    path = Path(os.environ.get("FACEMLLM_FACEXBENCH", "corpora/facexbench_questions")) / QUESTIONS
    if not path.is_file():
        remedy = "python -m facemllm.lmms_eval facexbench --root DIR --out DIR writes it"
        raise SystemExit(f"FACEMLLM_FACEXBENCH={path.parent}: holds no {QUESTIONS}; {remedy}")
    return {"data_files": {"test": str(path)}}
