"""Ask a vision-language model about faces, and keep what it said: every answer once, whatever happens.

Any server that speaks the OpenAI chat protocol will do. ``annotate`` asks and fills a work folder, ``read_answers``
reads it, ``estimate`` says before what it would take::

    report = annotate(source, Annotator("http://localhost:8000", "Qwen/Qwen3-VL-8B-Instruct"), "OUT/.annotating",
                      check=check)
    for face in read_answers("OUT/.annotating").answers(): ...
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from datasets_scripts.annotator_answers import AnsweredFace, AnsweredFaces, read_answers
from datasets_scripts.annotator_settings import Annotator, FaceSource, FaceToAsk, Request, picture_part

__all__ = [
    "Annotator",
    "AnsweredFace",
    "AnsweredFaces",
    "FaceSource",
    "FaceToAsk",
    "Request",
    "annotate",
    "estimate",
    "picture_part",
    "read_answers",
]


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
    """Ask every question about every face of the source once, and keep the answers in the folder ``out``.

    The same call goes on with a run that was interrupted, and only returns the report of one that is complete.

    Args:
        check: called with a request's name and its answer (the parsed JSON where the request has a schema, else the
            text); raises ``InvalidAnswer`` for an answer that is not to be kept. A function of a module.
        engine: ``local``, ``slurm`` or ``ray``, with ``engine_options`` as ``engines.run_tasks`` takes them.
        workers: parts of the source that are worked on at once.
        limit: faces that are asked about at most, spread evenly over the parts.

    Returns:
        ``faces``, ``skipped`` (by reason), ``valid`` and ``rejected`` (by reason) questions, ``invalid`` (by reason)
        answers that were asked for again or given up, ``input_tokens``, ``output_tokens``, ``cost``, ``seconds``.

    Raises:
        CorpusError: for a wrong key or model, for an endpoint that does not answer, and if ``out`` holds the answers
            of other settings. What was answered is kept for the next call.
        OSError: for a full disk, say.
    """
    raise NotImplementedError


def estimate(source: FaceSource, annotator: Annotator, sample: int = 200, limit: int | None = None) -> dict[str, Any]:
    """What ``annotate`` would ask and cost, by looking at the source; the endpoint is not asked anything.

    Returns ``faces``, ``requests``, ``input_tokens``, ``output_tokens``, ``cost``, and ``most_output_tokens`` and
    ``most_cost``, if every answer were as long as ``max_tokens`` allows and had to be asked for ``attempts`` times.
    """
    raise NotImplementedError
