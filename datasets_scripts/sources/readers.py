"""The datasets that can be made corpora of: a reader each, by the word that names it on the command line."""

from dataclasses import MISSING, Field, fields
from typing import Any

from datasets_scripts.questions.conversations import CONFIGS, Conventions
from datasets_scripts.questions.zero_shot import ZERO_SHOT
from datasets_scripts.schema import CorpusError

from .affectnet import AffectNet
from .aflw2000 import AFLW2000
from .agedb import AgeDB
from .biwi import BIWI
from .bp4d import BP4D
from .celeba import CelebA
from .disfa import DISFA
from .fairface import FairFace
from .lfwa import LFWA
from .maad_face import MAADFace
from .morph import MORPH
from .raf_db import RAFDB
from .reading import FaceReader
from .utkface import UTKFace
from .w300_lp import W300LP

READERS: dict[str, type[FaceReader]] = {
    reader.NAME: reader
    for reader in (
        FairFace,
        CelebA,
        MAADFace,
        LFWA,
        UTKFace,
        AgeDB,
        MORPH,
        RAFDB,
        AffectNet,
        W300LP,
        AFLW2000,
        BIWI,
        DISFA,
        BP4D,
    )
}

WITH_CONTEMPT = ("affectnet",)
"""Whose expressions are eight; the others know no contempt, so it is no option there."""


def reader_of(name: str) -> type[FaceReader]:
    """The reader of a dataset; `CorpusError` for a name that is none."""
    if name not in READERS:
        raise CorpusError(f"corpus {name!r} is unknown; there are readers for {', '.join(READERS)}")
    return READERS[name]


def configs_of(reader: type[FaceReader]) -> tuple[str, ...]:
    """The configs a corpus of this dataset can have: `zero_shot` too where it has attributes."""
    return (*CONFIGS, ZERO_SHOT) if "attributes" in reader.TASKS else CONFIGS


def conventions_of_reader(reader: FaceReader) -> Conventions:
    """What the labels of this reader mean, where that differs from source to source."""
    extra = ("contempt",) if reader.NAME in WITH_CONTEMPT else ()
    intensities = getattr(reader, "coding", None) == "intensity"
    return Conventions(extra, 2.0 if intensities else float(getattr(reader, "PRESENT_FROM", 2.0)))


def own_options(reader: type[FaceReader]) -> dict[str, Field[Any]]:
    """The reader's settings beyond those that all have, by name; each has a default."""
    common = {field.name for field in fields(FaceReader)} | {"race"}
    return {field.name: field for field in fields(reader) if field.name not in common and field.default is not MISSING}
