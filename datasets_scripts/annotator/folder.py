"""Whose folder it is: checked before the first request is paid for."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datasets_scripts.corpus.writing import BUILDING, CARD, MANIFEST
from datasets_scripts.files import differences, is_locked, write_json
from datasets_scripts.schema import CorpusError

from .answers import PLAN, read_work
from .settings import Annotator, FaceSource

WORK = ".annotating"


def work_folder(out: str | os.PathLike, name: str, overwrite: bool = False) -> Path:
    """The folder in the corpus's folder `out` where the answers of the corpus called `name` are kept.

    Raises `CorpusError` if `out` holds another corpus, and, unless `overwrite`, if it holds one of this name
    whose answers are gone: the new ones would be paid for, and the corpus in the way.
    """
    out, found = Path(out), None
    for path in (out / MANIFEST, out / BUILDING / "build.json"):
        if path.exists():
            found = _name_in(path)
            if found != name:
                raise CorpusError(f"{out} holds another corpus ({found or f'see {path}'}): give another --out")
    if found is None and (out / CARD).exists():
        raise CorpusError(f"{out} holds another corpus ({CARD} is not of one annotated here): give another --out")
    if found is not None and not overwrite and not (out / WORK / PLAN).exists():
        remedy = "give another --out, or --overwrite to ask again and replace it"
        raise CorpusError(f"{out} holds a corpus called {name} without the answers it is made of: {remedy}")
    return out / WORK


def claim(source: FaceSource, annotator: Annotator, out: Path, limit: int | None) -> dict[str, Any]:
    """The plan of the annotation in `out`: the one that is there already, if it is of the same settings.

    A plan of other settings gives way where nothing was answered yet: a mistyped model leaves no locked folder.
    """
    settings = {
        "annotator": annotator.answer_settings(),
        "source": source.describe(),
        "parts": len(source),
        "limit": limit,
    }
    settings = json.loads(json.dumps(settings, default=str))  # as they will be read back
    path = out / PLAN
    if any((out / "journal").rglob("*.sqlite3")):
        remedy = "finish it with that version, or delete this folder to ask again what is in it"
        raise CorpusError(f"{out / 'journal'} holds answers as an earlier version of facemllm kept them: {remedy}")
    if path.exists():
        plan = read_work(path)
        different = differences({name: plan.get(name) for name in settings}, settings)
        if not different:
            return plan
        if not _is_unanswered(out):
            remedy = "give another folder, or these settings again to go on"
            raise CorpusError(f"{out} holds answers to other settings ({'; '.join(different)}): {remedy}")
        for name in ("tasks", "journal", "counts", "answers"):
            shutil.rmtree(out / name, ignore_errors=True)
    date = annotator.date or datetime.now(UTC).date().isoformat()
    plan = {**settings, "date": date, "endpoint": annotator.endpoint}
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)
    return plan


def _name_in(path: Path) -> str | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["name"]
    except (ValueError, KeyError, TypeError):
        return None


def _is_unanswered(out: Path) -> bool:
    """Whether there is no answer in `out`, and nobody at work who may write one."""
    if any((out / "answers").glob("*.jsonl")) or (out / "tasks" / "executor.pik").exists():  # of jobs in Slurm's queue
        return False
    if any(is_locked(path) for path in (out / "tasks" / "locks").glob("*")):
        return False
    return not any(path.stat().st_size for path in (out / "journal").glob("*.jsonl"))
