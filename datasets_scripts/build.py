"""The corpora that can be built: each a reader, its configs and splits, and what its card says."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from datasets_scripts.publish import write_corpus
from datasets_scripts.questions import CONFIGS, DEFAULT_TASKS, AskedFaces
from datasets_scripts.schema import CorpusError
from datasets_scripts.sources import fairface, synthetic

FAIRFACE_DESCRIPTION = """\
Captions and questions with answers about the faces of [FairFace](https://github.com/joojs/fairface) (Kärkkäinen and
Joo, WACV 2021): age group and gender as its annotators saw them. The pictures are FairFace's own files, unchanged. The
words were made from the labels by templates (`datasets_scripts/questions.py`)."""

SYNTHETIC_DESCRIPTION = """\
Drawn faces with exact labels, captions in varied wording and questions with answers, for learning how a face model is
trained and for testing that it can be. Two attributes are held out: their words occur in captions and in text-only
questions, never in a question about a picture."""


def build_fairface(
    root: str | os.PathLike,
    out: str | os.PathLike,
    *,
    configs: Sequence[str] = CONFIGS,
    splits: Sequence[str] = tuple(fairface.LABEL_FILES),
    labels: Mapping[str, str] | None = None,
    tasks: Sequence[str] = DEFAULT_TASKS,
    seed: int = 0,
    limit: int | None = None,
    **publishing: Any,
) -> dict[str, Any]:
    """FairFace from its folder ``root`` as a corpus in ``out``; what was counted, as ``write_corpus`` returns it.

    ``labels`` maps a split to another label file. ``tasks`` may name ``race``: only then are race labels read, asked
    about and written. ``limit`` rows at most are read of each split. ``publishing`` goes to ``write_corpus``.
    Raises ``CorpusError`` for a folder or label file that is not FairFace's, and what ``write_corpus`` raises.
    """
    for split in labels or {}:
        if split not in splits:
            raise CorpusError(f"labels for {split!r}: that split is not built; the splits are {', '.join(splits)}")

    def reader(split: str) -> fairface.FairFace:
        file = (labels or {}).get(split)
        return fairface.FairFace(os.fspath(root), split, labels=file, race="race" in tasks, limit=limit)

    records = {
        config: {split: AskedFaces(reader(split), config, tuple(tasks), seed) for split in splits}
        for config in configs
    }
    publishing = {"description": FAIRFACE_DESCRIPTION, "name": "FairFace conversations", **publishing}
    return write_corpus(records, out, license=fairface.LICENSE, people=True, **publishing)


def build_synthetic(
    out: str | os.PathLike,
    *,
    counts: Mapping[str, int],
    configs: Sequence[str] = synthetic.CONFIGS,
    seed: int = 0,
    size: int = 64,
    **publishing: Any,
) -> dict[str, Any]:
    """The drawn faces as a corpus in ``out``; what was counted, as ``write_corpus`` returns it.

    ``counts`` is the number of faces of each split (``train``, ``validation``, ``test``; those with 0 are left out),
    the same faces in every config; ``size`` the side of the pictures in pixels. ``publishing`` goes to
    ``write_corpus``.
    Raises ``CorpusError`` for an unknown config or split, and what ``write_corpus`` raises.
    """
    records = {
        config: {
            split: synthetic.DrawnFaces(config, split, count, seed, size) for split, count in counts.items() if count
        }
        for config in configs
    }
    publishing = {"description": SYNTHETIC_DESCRIPTION, "name": "Drawn faces", **publishing}
    return write_corpus(records, out, license="apache-2.0", people=False, **publishing)
