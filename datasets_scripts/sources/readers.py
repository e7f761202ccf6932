"""The datasets that can be made corpora of: a reader each, by the word that names it on the command line."""

import pkgutil
from dataclasses import MISSING, Field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets_scripts.questions.conversations import CONFIGS, Conventions
from datasets_scripts.questions.zero_shot import ZERO_SHOT
from datasets_scripts.schema import CorpusArgumentError

from .reading import FaceReader


def _find_readers() -> dict[str, type[FaceReader]]:
    """The readers that the files beside this one define, by name: every class that sets a `NAME` of its own."""
    names = [file.name for file in pkgutil.iter_modules([str(Path(__file__).parent)])]
    modules = [import_module(f"{__package__}.{name}") for name in names if name != Path(__file__).stem]
    found = {
        reader.NAME: reader
        for module in modules
        for reader in vars(module).values()
        if isinstance(reader, type) and issubclass(reader, FaceReader) and "NAME" in vars(reader)
    }
    return dict(sorted(found.items()))


_FOUND = _find_readers()
READERS = {name: reader for name, reader in _FOUND.items() if hasattr(reader, "PROTOCOL")}
UNLABELLED = {name: reader for name, reader in _FOUND.items() if name not in READERS}
"""Readers without an evaluation protocol: nobody labelled their faces, so that no figure can be about them."""


def reader_of(name: str) -> type[FaceReader]:
    """The reader of a dataset; `CorpusError` for a name that is none."""
    if name not in _FOUND:
        raise CorpusArgumentError("name", name, f"give one of {', '.join(_FOUND)}")
    return _FOUND[name]


def configs_of(reader: type[FaceReader]) -> tuple[str, ...]:
    """The configs a corpus of this dataset can have: `zero_shot` too where it has attributes."""
    return (*CONFIGS, ZERO_SHOT) if "attributes" in reader.TASKS else CONFIGS


def conventions_of_reader(reader: FaceReader) -> Conventions:
    """What the labels of this reader mean, where that differs from source to source."""
    return Conventions(reader.EXTRA_VALUES, reader.present_from, reader.NAME in UNLABELLED)


def own_options(reader: type[FaceReader]) -> dict[str, Field[Any]]:
    """The reader's settings beyond those that all have, by name; each has a default."""
    common = {field.name for field in fields(FaceReader)} | {"race"}
    return {field.name: field for field in fields(reader) if field.name not in common and field.default is not MISSING}
