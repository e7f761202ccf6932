"""FairFaceGPT as it is published (Zenodo record 16323621): `dataset.json` in ShareGPT form, and FairFace's pictures.

The 87,632 pairs name their pictures by path; those of a picture become one row. Labels come from FairFace's own label
file where it lies with the pictures.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from datasets_scripts.annotator.delicate_words import speaks_of_race
from datasets_scripts.annotator.settings import InvalidAnswer
from datasets_scripts.corpus.writing import write_corpus
from datasets_scripts.questions.conversations import DEFAULT_TASKS
from datasets_scripts.schema import CorpusError, Skipped
from datasets_scripts.sources.fairface import LABEL_FILES, FairFace
from datasets_scripts.sources.reading import file_hash, read_picture

from .answers import check_answer, contradictions
from .questions import ASPECTS
from .records import CONFIGS, DescribedFace, DescribedFaces, Pair, count_pairs, describe_counts
from .sharegpt import InvalidConversation, json_entries, json_entry, read_conversation

LICENSE = "cc-by-sa-4.0"
ANNOTATION = {"annotator": "ChatGPT", "prompt_version": "FairFaceGPT, Zenodo 16323621", "date": "2025-07"}
MOST_PAIRS = 100  # about a face: in the config `pairs` every face has as many rows as one with most
NAMES = {aspect.question: name for name, aspect in ASPECTS.items()}

DESCRIPTION = """\
[FairFaceGPT](https://doi.org/10.5281/zenodo.16323621) (Otroshi Shahreza and Marcel, FaceLLM,
[arXiv 2507.10300](https://arxiv.org/abs/2507.10300)): eight descriptions of each face of
[FairFace](https://github.com/joojs/fairface)'s validation split (Kärkkäinen and Joo, WACV 2021), in the words of
`dataset.json`. `captions` is the full description, `vqa` all of a face in one conversation, `pairs` one question and
answer per row as published{labels}.

**No test set.** A model trained on this corpus must not be tested on FairFace's validation faces, nor on benchmarks
that contain them: FaceXBench asks about them.

**Every description was written by a model**, ChatGPT, which was told each face's gender, race label and age group. It
errs, also with confidence. {race}

{counts} The words are as published: what would be refused in a corpus built here (an answer that says
what the annotator was told, or breaks off) is kept, and flagged in `annotation.flags`."""

RACES = {
    True: "Race is spoken of in many of them; whoever built this corpus asked for it by name.",
    False: "Answers that speak of race or ethnicity are left out here; `race=True` (`--race`) would have kept them.",
}
TERMS = (
    "FairFaceGPT is said to be CC BY-SA; confirm the licence and its version at Zenodo record 16323621 before "
    "anything derived from it is passed on, and name Otroshi Shahreza and Marcel. The pictures are FairFace's, CC BY "
    "4.0: name Kärkkäinen and Joo."
)


@dataclass(frozen=True)
class PublishedFaces:
    """The faces of a `dataset.json`, in the order in which they first occur; bad entries are rows without a face.

    `images` is the folder that the paths in the file begin in, or end in: `/data/fairface/val/1.jpg` is found in
    a folder that has `val/1.jpg`. `race` keeps answers that speak of it. The file is read once for an index of the
    places of each face's entries, which takes some 30 MB for the published one.
    """

    file: str
    images: str
    race: bool = False

    def __post_init__(self) -> None:
        if not Path(self.file).is_file():
            raise CorpusError(f"there is no file {self.file}: give the dataset.json of FairFaceGPT")
        if not Path(self.images).is_dir():
            raise CorpusError(f"there is no folder {self.images}: give FairFace's folder, which has val/1.jpg")

    @cached_property
    def _index(self) -> tuple[list[tuple[str, tuple[int, ...]] | Skipped], int, int]:
        """The rows (picture and places, or why there is none), the most pairs of one face, leading parts to drop."""
        found: dict[str, list[int]] = {}
        pairs: dict[str, int] = {}
        bad: list[Skipped] = []
        for number, (place, entry) in enumerate(json_entries(self.file)):
            try:
                talk = read_conversation(entry)
                if not _parts(talk.image):
                    raise InvalidConversation("no image")
                if pairs.get(talk.image, 0) + len(talk.pairs) > MOST_PAIRS:
                    raise InvalidConversation(f"more than {MOST_PAIRS} questions about a face")
            except InvalidConversation as error:
                bad.append(Skipped(f"fairfacegpt/entry-{number}", error.reason))
                continue
            found.setdefault(talk.image, []).append(place)
            pairs[talk.image] = pairs.get(talk.image, 0) + len(talk.pairs)
        if not found and not bad:
            raise CorpusError(f"{self.file} has no entries: give the dataset.json of FairFaceGPT")
        leading = self._leading(list(found))
        rows: dict[str, str] = {}
        for image in found:
            name = _name(_path(image, leading))
            if rows.setdefault(name, image) != image:
                bad.append(Skipped(name, "id of an earlier face"))
        kept = [(image, tuple(found[image])) for image in rows.values()]
        return [*kept, *bad], max(pairs.values(), default=0), leading

    @cached_property
    def labels(self) -> dict[str, Mapping[str, Any]]:
        """FairFace's labels by the picture's path, `val/1.jpg`; empty where no label file lies with the pictures."""
        labels = {}
        for split, name in LABEL_FILES.items():
            if split == "validation" and (Path(self.images) / name).is_file():
                reader = FairFace(self.images, split, race=self.race)
                labels |= {face.url: face.labels for face in reader.faces() if not isinstance(face, Skipped)}
        return labels

    @property
    def slots(self) -> int:
        """The most pairs that a face has; the published ones have eight."""
        return max(1, self._index[1])

    def __len__(self) -> int:
        return len(self._index[0])

    def faces(self, start: int, stop: int) -> Iterator[DescribedFace | Skipped]:
        """A described face, or the reason for none, for each of the rows `start` to `stop`."""
        rows, _, leading = self._index
        for row in rows[start:stop]:
            yield row if isinstance(row, Skipped) else self._face(*row, leading)

    def describe(self) -> dict[str, Any]:
        """What the records depend on: the file by its content, the pictures by name only."""
        return {"name": "fairfacegpt", "file": file_hash(self.file), "race": self.race, "labels": len(self.labels)}

    def _leading(self, images: Sequence[str]) -> int:
        """How many leading parts of the paths stand for the folder of the pictures: of the first that is found."""
        for image in images[:1000]:
            parts = _parts(image)
            for leading in range(len(parts)):
                try:
                    if (Path(self.images) / PurePosixPath(*parts[leading:])).is_file():
                        return leading
                except OSError:  # a name that is too long, say
                    continue
        return 0

    def _face(self, image: str, places: Sequence[int], leading: int) -> DescribedFace | Skipped:
        path = _path(image, leading)
        name = _name(path)
        picture = read_picture(self.images, path)
        if isinstance(picture, str):
            return Skipped(name, picture)
        try:
            talks = [read_conversation(json_entry(self.file, place)) for place in places]
        except InvalidConversation as error:  # how deep is too deep depends on who reads
            return Skipped(name, error.reason)
        pairs = tuple(self._pair(question, answer) for talk in talks for question, answer in talk.pairs)
        labels = self.labels.get(path, {})
        flags = [flag for pair in pairs if pair.answer for flag in _flags(pair, labels)]
        return DescribedFace(
            id=name,
            image={"bytes": picture, "path": PurePosixPath(path).name},
            url=path,
            labels=labels,
            pairs=pairs,
            annotation={**ANNOTATION, "flags": flags},
            source="FairFaceGPT",
            license=LICENSE,
        )

    def _pair(self, question: str, answer: str) -> Pair:
        name = NAMES.get(question, "other")
        if not self.race and speaks_of_race(answer):
            return Pair(name, question, None, "speaks of race or ethnicity")
        return Pair(name, question, answer)


def build_published(
    file: str | os.PathLike,
    images: str | os.PathLike,
    out: str | os.PathLike,
    *,
    configs: Sequence[str] | None = None,
    race: bool = False,
    seed: int = 0,
    **corpus_options: Any,
) -> dict[str, Any]:
    """The published `dataset.json` with the pictures of the folder `images` as a corpus in `out`.

    `configs` are by default those of `CONFIGS` that have rows; `face_tasks` has them where FairFace's label file
    lies with the pictures. `race` keeps answers that speak of race or ethnicity, and writes the label.
    `corpus_options` goes to `write_corpus`. Returns what that returns and `pairs`, for each question how many
    answers were kept, and how many were not and why.

    Raises `CorpusError` for a file in another form, for `face_tasks` without a label file, and what
    `write_corpus` raises.
    """
    reader = PublishedFaces(os.fspath(file), os.fspath(images), race)
    if "face_tasks" in (configs or ()) and not reader.labels:
        raise CorpusError(f"config=face_tasks needs labels: {images} has no {LABEL_FILES['validation']}; put it there")
    pairs = count_pairs(reader)
    tasks = (*DEFAULT_TASKS, "race") if race else DEFAULT_TASKS
    records = {config: {"train": DescribedFaces(reader, config, seed, tasks)} for config in configs or CONFIGS}
    if configs is None:
        empty = [config for config, splits in records.items() if not splits["train"].has_rows(pairs)]
        empty += [] if reader.labels else ["face_tasks"]
        records = {config: splits for config, splits in records.items() if config == "vqa" or config not in empty}
    description = DESCRIPTION.format(
        labels=", `face_tasks` the questions made of FairFace's own labels" if reader.labels else "",
        race=RACES[race],
        counts=describe_counts(pairs),
    )
    corpus_options = {"name": "FairFaceGPT", "description": description, "notices": [TERMS], **corpus_options}
    return {**write_corpus(records, out, license=LICENSE, **corpus_options), "pairs": pairs}


def _flags(pair: Pair, labels: Mapping[str, Any]) -> list[str]:
    try:
        check_answer(pair.name, pair.answer)
        faults = []
    except InvalidAnswer as error:
        faults = [f"{pair.name}: {error.reason}"]
    return [*faults, *contradictions(pair.name, pair.answer, labels)]


def _path(image: str, leading: int) -> str:
    """The path in the folder of the pictures, without the `leading` parts that stand for that folder."""
    parts = _parts(image)
    return "/".join(parts[min(leading, len(parts) - 1) :])


def _name(path: str) -> str:
    return f"fairfacegpt/{path.removesuffix(PurePosixPath(path).suffix)}"


def _parts(image: str) -> list[str]:
    """The parts of a path as somebody's machine wrote it, without a root or a drive."""
    return [part for part in image.replace("\\", "/").split("/") if part not in ("", ".") and not part.endswith(":")]
