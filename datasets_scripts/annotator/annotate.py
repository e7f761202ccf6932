"""Ask every question about every face of a source once, part by part on an engine; make a corpus of the answers."""

import inspect
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datasets_scripts.corpus.shards import SizedSource
from datasets_scripts.corpus.writing import alone_in, write_corpus
from datasets_scripts.engines.options import check_engine
from datasets_scripts.engines.run import run_tasks
from datasets_scripts.schema import CorpusArgumentError, CorpusError
from modeling_facemllm.installation import install_command

from .answers import part_path, read_answers, read_counts, sum_counts
from .estimate import estimate
from .folder import claim, work_folder
from .progress import Progress
from .settings import Annotator, FaceSource

Answered = tuple[dict[str, SizedSource], list[str], dict[str, Any]]
"""The records of each config that has rows, the configs that have none, and more of `write_corpus`'s arguments."""


def annotate_corpus(
    source: FaceSource,
    annotator: Annotator,
    out: str | os.PathLike,
    read: Callable[[Path, dict[str, Any]], Answered],
    *,
    name: str,
    check: Callable[[str, Any], Any],
    dry_run: bool = False,
    limit: int | None = None,
    engine: str = "local",
    workers: int = 1,
    engine_options: Mapping[str, Any] | None = None,
    progress: bool = True,
    overwrite: bool = False,
    **corpus_options: Any,
) -> dict[str, Any]:
    """Have the faces of a source annotated and write the corpus `name` of the answers; goes on after a kill.

    The answers are kept in `out/.annotating`: the corpus can be written again, with pictures or another config,
    without asking anew, and `overwrite` replaces an earlier corpus, never answers.

    Args:
        read: called with that folder and the report of `annotate` when all is answered.
        dry_run: only estimate requests, tokens and cost; nothing is asked or written.
        corpus_options: goes to `write_corpus`; the others are as in `annotate`.

    Returns:
        `annotation` and `corpus`, what `annotate` and `write_corpus` return, and `empty`: the configs that would have
        had no row and are not written. `corpus` is None where no config has any. With `dry_run` only `estimate`.
    """
    if unknown := corpus_options.keys() - inspect.signature(write_corpus).parameters.keys():
        raise TypeError(f"{min(unknown)}: is an option of neither annotate_corpus nor write_corpus")
    if dry_run:
        return {"estimate": estimate(source, annotator, limit=limit)}
    work = work_folder(out, name, overwrite)
    report = annotate(
        source,
        annotator,
        work,
        check=check,
        engine=engine,
        workers=workers,
        engine_options=engine_options,
        progress=progress,
        limit=limit,
    )
    records, empty, about = read(work, report)
    corpus = None
    if records:
        splits = {config: {"train": rows} for config, rows in records.items()}
        about = {**about, **corpus_options}
        corpus = write_corpus(splits, out, name=name, overwrite=overwrite, progress=progress, **about)
    return {"annotation": report, "corpus": corpus, "empty": empty}


def annotate(
    source: FaceSource,
    annotator: Annotator,
    out: str | os.PathLike,
    *,
    check: Callable[[str, Any], Any],
    engine: str = "local",
    workers: int = 1,
    engine_options: Mapping[str, Any] | None = None,
    progress: bool = True,
    limit: int | None = None,
) -> dict[str, Any]:
    """Ask every question about every face of the source once, and keep the answers in the folder `out`.

    The same call goes on with a run that was interrupted, and only returns the report of one that is complete.

    Args:
        check: called with a request's name and its answer (the parsed JSON where the request has a schema, else the
            text); raises `InvalidAnswer` for an answer that is not to be kept. A function of a module.
        engine: `local`, `slurm` or `ray`, with `engine_options` as `engines.run.run_tasks` takes them.
        workers: parts of the source that are worked on at once.
        limit: faces that are asked about at most, spread evenly over the parts.

    Returns:
        `faces`, `skipped` (by reason), `valid` and `rejected` (by reason) questions, `invalid` (by reason)
        answers that were asked for again or given up, `requests`, `input_tokens`, `output_tokens`, `cost`
        (None without prices), `date`, `out`, `seconds`.

    Raises:
        CorpusError: for a wrong key or model, for an endpoint that does not answer, and if `out` holds the answers
            of other settings or another process writes it. What was answered is kept for the next call.
        OSError: for a full disk, say.
    """
    began, out = time.monotonic(), Path(out).absolute()
    parts = _check_arguments(source, annotator, workers, limit)
    check_engine(engine, engine_options or {})
    with alone_in(out):
        plan = claim(source, annotator, out, limit)
        missing = [part for part in range(parts) if not part_path(out, part).exists()]
        if missing:
            concurrency = annotator.concurrency // min(workers, parts)
            try:
                from .runner import AskAnnotator

                pipeline = [AskAnnotator(source, annotator, check, str(out), concurrency, limit)]  # looks for openai
            except ImportError as error:
                install = install_command("annotate")
                raise CorpusError(f"annotating needs packages that are missing ({error}): {install}") from error
            for part in missing:  # marked by a run whose answers were removed since
                (out / "tasks" / "completions" / f"{part:05d}").unlink(missing_ok=True)
            with Progress(out, parts, annotator, shown=progress) as bar:
                run_tasks(
                    pipeline, parts, out / "tasks", engine, workers, engine_options, progress=False, show=bar.show
                )
        read_answers(out)  # raises where a part is missing after all
        shutil.rmtree(out / "journal", ignore_errors=True)
        report = sum_counts(read_counts(out, parts))
    report["cost"] = annotator.cost(report["input_tokens"], report["output_tokens"])
    return {**report, "date": plan["date"], "out": str(out), "seconds": round(time.monotonic() - began, 2)}


def _check_arguments(source: FaceSource, annotator: Annotator, workers: int, limit: int | None) -> int:
    """The number of parts."""
    for argument, value in (("workers", workers), ("limit", limit)):
        if value is not None and value < 1:
            raise CorpusArgumentError(argument, value, "give 1 or more")
    if workers > annotator.concurrency:
        raise CorpusArgumentError(
            "workers", workers, f"each needs a request of its own, give concurrency={workers} or more"
        )
    if not len(source):
        raise CorpusError("the source has no parts: there is nothing to ask about")
    annotator.api_key()  # raises where it is missing, before anything begins
    return len(source)
