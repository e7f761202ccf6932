"""FairFaceGPT: eight descriptions of every face of a FairFace split, by an annotator that is told the known labels.

After FaceLLM (Otroshi Shahreza and Marcel, arXiv 2507.10300), which describes FairFace's validation split. Here
infants are told as infants and the open age group in English, race only on request, and answers that repeat what was
told are refused. The corpus is for training: its only split is `train`, whichever split of FairFace it is made of.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets_scripts.annotator.annotate import Answered, annotate_corpus
from datasets_scripts.annotator.answers import AnsweredFaces, read_answers
from datasets_scripts.annotator.settings import Annotator, FaceToAsk, InvalidAnswer, Request, picture_part
from datasets_scripts.build import keep_apart
from datasets_scripts.questions.conversations import DEFAULT_TASKS
from datasets_scripts.schema import CorpusArgumentError, CorpusError, Skipped
from datasets_scripts.shown_text import in_code
from datasets_scripts.sources.fairface import FairFace
from datasets_scripts.sources.reading import read_picture

from .answers import check_answer, check_answer_without_race, contradictions
from .questions import ASPECTS, PROMPT_VERSION, chat, prompt_digest
from .records import CONFIGS, DescribedFace, DescribedFaces, Pair, count_pairs, describe_counts

PART_ROWS = 1000  # rows of the label file that are one task of the executor
NAME, LICENSE = "FairFaceGPT, rebuilt", "cc-by-4.0"

DESCRIPTION = """\
Eight descriptions of each face of [FairFace](https://github.com/joojs/fairface)'s {split} split (Kärkkäinen and Joo,
WACV 2021, CC BY 4.0), made as FairFaceGPT was for [FaceLLM](https://arxiv.org/abs/2507.10300) (Otroshi Shahreza and
Marcel, 2025), with the same stored questions. `captions` is the full description, `vqa` all eight in one conversation,
`pairs` one question and answer per row as FairFaceGPT is published, `face_tasks` the questions made of FairFace's own
labels.

**No test set.** FairFace's {split} split is training data here. A model trained on this corpus must not be tested on
those faces, nor on benchmarks that contain them: FaceXBench asks about FairFace's validation faces.

**Every description was written by a model**, {annotator}, which was told each face's age group and gender{race} and
to describe what can be seen. It errs, also with confidence. Its provider's terms apply to the words beside FairFace's
licence. {counts}

**How it differs from the published FairFaceGPT**: infants are told to the annotator as infants and children as girls
and boys, the age group "more than 70" as "aged 70 or older"; {race_difference}; answers that refuse, break off or
repeat what was told are asked for again and then left out; answers at odds with a label are flagged in
`annotation.flags`."""

RACE_DIFFERENCES = {
    True: "the annotator is told FairFace's race label, as there, because whoever built this asked for it",
    False: "the annotator is not told FairFace's race label, and answers that speak of race or ethnicity are left out",
}


@dataclass(frozen=True)
class FairFaceGPTFaces:
    """The faces of a FairFace reader with eight questions each: a `FaceSource` whose parts are rows of the labels.

    The annotator is told race where the reader passes it on.
    """

    reader: FairFace
    part_rows: int = PART_ROWS

    def __len__(self) -> int:
        return -(-len(self.reader) // self.part_rows)

    def faces(self, part: int) -> Iterator[FaceToAsk | Skipped]:
        """A face with its eight requests, or the reason for none, for each row of the part."""
        for face in self.reader.faces(part * self.part_rows, (part + 1) * self.part_rows):
            name = f"fairfacegpt/{face.id.partition('/')[2]}"
            if isinstance(face, Skipped):
                yield Skipped(name, face.reason)
                continue
            try:
                picture = picture_part(face.image["bytes"])
            except CorpusError:
                yield Skipped(name, "picture is no JPEG, PNG or WebP file")
                continue
            requests = tuple(Request(aspect, chat(aspect, face.labels, picture)) for aspect in ASPECTS)
            yield FaceToAsk(name, requests, {"labels": dict(face.labels), "url": face.url})

    def describe(self) -> dict[str, Any]:
        """What the questions depend on, in JSON's types."""
        prompt = [PROMPT_VERSION, prompt_digest()]
        return {"reader": self.reader.describe(), "prompt": prompt, "part_rows": self.part_rows}


@dataclass(frozen=True)
class AnsweredFairFace:
    """The answers about FairFace's faces in the work folder `work`, with their pictures from `root`."""

    work: str
    root: str
    race: bool = False
    slots: int = len(ASPECTS)

    def __len__(self) -> int:
        return len(self._answered)

    def faces(self, start: int, stop: int) -> Iterator[DescribedFace | Skipped]:
        """A described face, or the reason for none, for each of the rows `start` to `stop`."""
        facts = self._answered.describe()
        annotation = {name: facts[name] for name in ("annotator", "prompt_version", "date")}
        check = check_answer if self.race else check_answer_without_race
        for face in self._answered.answers(start, stop):
            if isinstance(face, Skipped):
                yield face
                continue
            picture = read_picture(self.root, face.facts["url"])
            if isinstance(picture, str):
                yield Skipped(face.id, picture)
                continue
            pairs = tuple(_pair(aspect, face.answers, face.rejected, check) for aspect in ASPECTS)
            labels = face.facts["labels"]
            flags = [flag for pair in pairs if pair.answer for flag in contradictions(pair.name, pair.answer, labels)]
            yield DescribedFace(
                id=face.id,
                image={"bytes": picture, "path": Path(face.facts["url"]).name},
                url=face.facts["url"],
                labels=labels,
                pairs=pairs,
                annotation={**annotation, "flags": flags},
                source="FairFace",
                license=LICENSE,
            )

    def describe(self) -> dict[str, Any]:
        """What the records depend on, in JSON's types."""
        return {"answers": self._answered.describe(), "race": self.race}

    @cached_property
    def _answered(self) -> AnsweredFaces:
        return read_answers(self.work)  # which looks at every part: once, not for every shard


def _pair(aspect: str, answers: Mapping[str, Any], rejected: Mapping[str, str], check: Any) -> Pair:
    question = ASPECTS[aspect].question
    if aspect not in answers:
        return Pair(aspect, question, None, rejected.get(aspect, "not answered"))
    try:
        return Pair(aspect, question, check(aspect, answers[aspect]))
    except InvalidAnswer as error:  # an older version of the check let it pass
        return Pair(aspect, question, None, error.reason)


def annotate_fairfacegpt(
    root: str | os.PathLike,
    out: str | os.PathLike,
    annotator: Annotator,
    *,
    split: str = "validation",
    labels: str | None = None,
    race: bool = False,
    configs: Sequence[str] = CONFIGS,
    include_images: bool = False,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Have FairFace's folder `root` described by `annotator` and write the corpus `out`; goes on after a kill.

    `race` tells the annotator FairFace's race label and writes it; `labels` is another label file. `options` go to
    `annotate_corpus`, and of it to `write_corpus`.

    Returns what `annotate_corpus` does and `pairs`: for each question how many answers were kept, and how many were
    not and why. `corpus` is None, and nothing is written, if no answer was kept.

    Raises:
        CorpusError: for a folder that is not FairFace's, an unknown config, `out` and `root` one inside the other, and
            what `annotate` and `write_corpus` raise.
    """
    unknown = [config for config in configs if config not in CONFIGS]
    if unknown or not configs:
        raise CorpusArgumentError("configs", ", ".join(unknown), f"give one or more of {', '.join(CONFIGS)}")
    keep_apart(root, out)
    pairs: dict[str, dict[str, int]] = {}

    def read(work: Path, report: Mapping[str, Any]) -> Answered:
        answered = AnsweredFairFace(str(work), os.fspath(root), race)
        pairs.update(count_pairs(answered))
        tasks = (*DEFAULT_TASKS, "race") if race else DEFAULT_TASKS
        records = {config: DescribedFaces(answered, config, seed, tasks) for config in configs}
        filled = {config: rows for config, rows in records.items() if rows.has_rows(pairs)}
        empty = [config for config in records if config not in filled]
        kept = any(counts["kept"] for counts in pairs.values())
        return filled if kept else {}, empty, {"description": _description(split, race, annotator.model, pairs)}

    report = annotate_corpus(
        FairFaceGPTFaces(FairFace(os.fspath(root), split, labels=labels, race=race)),
        replace(annotator, prompt_version=PROMPT_VERSION),
        out,
        read,
        check=check_answer if race else check_answer_without_race,
        license=LICENSE,
        include_images=include_images,
        **{"name": NAME, "notices": [FAIRFACE_TERMS], **options},
    )
    return report if "estimate" in report else {**report, "pairs": pairs}


FAIRFACE_TERMS = (
    "The pictures are FairFace's, CC BY 4.0: name Kärkkäinen and Joo, [FairFace](https://github.com/joojs/fairface), "
    "when anything derived from them is passed on. The published FairFaceGPT (Zenodo record 16323621) is said to be "
    "CC BY-SA; none of its descriptions are here, only its questions."
)


def _description(split: str, race: bool, annotator: str, pairs: Mapping[str, Mapping[str, int]]) -> str:
    return DESCRIPTION.format(
        split=split,
        annotator=in_code(annotator),
        race=" and race label" if race else "",
        race_difference=RACE_DIFFERENCES[race],
        counts=describe_counts(pairs),
    )
