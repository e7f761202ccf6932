"""Whose folder it is: told before the first request is paid for."""

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datasets_scripts.files import differences
from datasets_scripts.schema import CorpusError

from .answers import PLAN, read_json, write_json
from .settings import Annotator, FaceSource

WORK = ".annotating"


def work_folder(out: str | os.PathLike, name: str, overwrite: bool = False) -> Path:
    """The folder in the corpus's folder `out` where the answers of the corpus called `name` are kept.

    Raises `CorpusError` if `out` holds another corpus, and, unless `overwrite`, if it holds one of this name
    whose answers are gone: the new ones would be paid for, and the corpus in the way.
    """
    from datasets_scripts.corpus.writing import BUILDING, CARD, MANIFEST

    out, found = Path(out), None
    for path in (out / MANIFEST, out / BUILDING / "build.json"):
        if path.exists():
            found = _name_in(path)
            if found != name:
                told = f"another corpus ({found})" if found else f"another corpus (see {path})"
                raise CorpusError(f"{out} holds {told}: give another --out")
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
    path = out / PLAN
    if path.exists():
        plan = read_json(path)
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
    if any(_is_held(path) for path in (out / "tasks" / "locks").glob("*")):
        return False
    return not any(_has_rows(path) for path in (out / "journal").rglob("*.sqlite3"))


def _is_held(lock: Path) -> bool:
    with open(lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _has_rows(journal: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(journal)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "request_cache" not in tables:
                return bool(tables)
            return connection.execute("SELECT 1 FROM request_cache LIMIT 1").fetchone() is not None
    except sqlite3.Error:  # what cannot be read is not thrown away
        return True
