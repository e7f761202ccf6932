"""What was answered about LAION-Face's faces, as records of a corpus."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets_scripts.annotator_answers import AnsweredFace, AnsweredFaces
from datasets_scripts.captions import REQUESTS
from datasets_scripts.face_attributes import check_answer, labels_of
from datasets_scripts.laion_pictures import BrokenPicture, decode_upright
from datasets_scripts.laion_prompt import REQUEST, encode_jpeg
from datasets_scripts.laion_tars import SOURCE, read_again
from datasets_scripts.questions import make_conversation
from datasets_scripts.schema import CorpusError, Skipped, assistant_turn, make_record, user_turn

CONFIGS = ("captions", "vqa", "face_tasks")
LICENSE = "cc-by-4.0"  # of LAION-Face's lists; the pictures keep their own rights, and are not in the corpus
CROP_QUALITY = 95
TASKS_ASKED = ("gender", "age", "expression", "attributes")

DESCRIPTION = """\
Faces of [LAION-Face](https://github.com/FacePerceiver/LAION-Face) (Zheng et al., CVPR 2022), described by a
vision-language model: a caption and a table of visible attributes for each. `url`, `box` and `landmarks` say which
face is meant, in pixels of the picture at the URL, full size and upright (its EXIF orientation applied). No person has
looked the answers over; `annotation` says which model gave them, and what in them contradicts itself."""

NOTICE = """\
The lists of LAION-Face are CC BY 4.0. The pictures belong to others, who were not asked, and show people who were not
asked either. Neither may they be passed on, nor may anyone be identified by them. Take a face out when its subject
or its URL's owner wishes so."""


@dataclass(frozen=True)
class LaionRecords:
    """The answers as records of one config: a source for ``publish.write_corpus``.

    ``tars`` are the tars that were annotated where the crops are to be carried, else empty.
    """

    answers: AnsweredFaces
    config: str
    seed: int = 0
    tars: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.answers)

    def records(self, start: int, stop: int) -> Iterator[dict[str, Any] | Skipped]:
        """One record, or the reason for none, for each of the rows ``start`` to ``stop``."""
        for face in self.answers.answers(start, stop):
            yield face if isinstance(face, Skipped) else self._record(face)

    def describe(self) -> dict[str, Any]:
        """What the records depend on, in JSON's types."""
        return {
            "answers": self.answers.describe(),
            "config": self.config,
            "seed": self.seed,
            "pictures": bool(self.tars),
        }

    @cached_property
    def _annotator(self) -> dict[str, str]:
        described = self.answers.describe()
        return {name: described[name] for name in ("annotator", "prompt_version", "date")}

    @cached_property
    def _places(self) -> dict[str, str]:
        """The tars by the name that the facts have; two of one name could not be told apart."""
        places = {f"{Path(tar).parent.name}/{Path(tar).name}": tar for tar in self.tars}
        if len(places) < len(self.tars):
            raise CorpusError("two folders of tars have the same name: rename one, to tell their pictures apart")
        return places

    def _record(self, face: AnsweredFace) -> dict[str, Any] | Skipped:
        if REQUEST not in face.answers:
            return Skipped(face.id, f"annotator: {face.rejected.get(REQUEST, 'no answer')}")
        answer, facts = check_answer(face.answers[REQUEST]), face.facts
        labels = labels_of(answer.attributes)
        rng = random.Random(f"{self.seed}/{self.config}/{face.id}")
        if self.config == "captions":
            messages = [user_turn(rng.choice(REQUESTS), image=True), assistant_turn(answer.caption)]
            conversation = "caption", messages
        else:
            conversation = make_conversation(self.config, labels, rng, TASKS_ASKED)
        if conversation is None:
            return Skipped(face.id, "no known label to ask about")
        try:
            image = self._crop(facts) if self.tars else None
        except BrokenPicture as error:
            return Skipped(face.id, str(error))
        task, messages = conversation
        return make_record(
            id=face.id,
            messages=messages,
            task=task,
            split="train",
            source=SOURCE,
            license=LICENSE if image is None else "other",
            image=image,
            url=facts["url"],
            box=facts["box"],
            landmarks=facts["landmarks"],
            labels=labels,
            annotation={
                **self._annotator,
                "caption": answer.caption,
                "flags": list(answer.flags),
                "detection_score": facts["detection_score"],
            },
        )

    def _crop(self, facts: dict[str, Any]) -> dict[str, Any]:
        if facts["tar"] not in self._places:
            raise CorpusError(
                f"include_images: there is no {facts['tar']} any more; give the tars that were annotated"
            )
        picture = read_again(self._places[facts["tar"]], facts["offset"], facts["size"])
        image, _, _ = decode_upright(picture, facts["orientation"])
        return {"bytes": encode_jpeg(image.crop(facts["crop"]), CROP_QUALITY), "path": None}
