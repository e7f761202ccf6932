"""What was answered about LAION-Face's faces, as faces with labels that questions make records of."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets_scripts.annotator.answers import AnsweredFace, AnsweredFaces, read_answers
from datasets_scripts.annotator.settings import InvalidAnswer
from datasets_scripts.questions.closed_task import Conventions
from datasets_scripts.schema import CorpusError, LabelledFace, Skipped

from .answers import check_answer, labels_of
from .pictures import BrokenPicture, decode_upright
from .prompt import REQUEST, encode_jpeg
from .tars import SOURCE, read_again

CONFIGS = ("captions", "vqa", "face_tasks", "zero_shot")
LICENSE = "cc-by-4.0"  # of LAION-Face's lists; the pictures keep their own rights, and are not in the corpus
CROP_QUALITY = 95
TASKS = ("gender", "age", "expression", "attributes")
CONVENTIONS = Conventions(extra_values=("contempt",))  # the eighth expression of the annotator's table

DESCRIPTION = """\
Faces of [LAION-Face](https://github.com/FacePerceiver/LAION-Face) (Zheng et al., CVPR 2022), described by a
vision-language model: a caption and a table of visible attributes for each. `url`, `box` and `landmarks` say which
face is meant, in pixels of the picture at the URL, full size and upright (its EXIF orientation applied). No person has
looked the answers over; `annotation` says which model gave them, and what in them contradicts itself.

The only split is `train`. The config `zero_shot` asks about seen attributes alone
(`datasets_scripts/questions/zero_shot.py`): a model trained on it, and on no other config, can be tested on the
unseen ones of CelebA, LFWA or MAAD-Face."""

NOTICE = """\
The lists of LAION-Face are CC BY 4.0. The pictures belong to others, who were not asked, and show people who were not
asked either. Neither may they be passed on, nor may anyone be identified by them. Take a face out when its subject
or its URL's owner wishes so."""


@dataclass(frozen=True)
class AnsweredLaionFaces:
    """The answers in the work folder `work`, a face or a reason a row: a reader for `conversations.AskedFaces`.

    `tars` are the tars that were annotated where the crops are to be carried, else empty.
    """

    work: str
    tars: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._answered)

    def faces(self, start: int = 0, stop: int | None = None) -> Iterator[LabelledFace | Skipped]:
        """A face with the annotator's caption and attributes, or the reason for none, for each row."""
        for face in self._answered.answers(start, stop):
            yield face if isinstance(face, Skipped) else self._labelled(face)

    def describe(self) -> dict[str, Any]:
        """What the faces depend on, in JSON's types."""
        return {"name": SOURCE, "answers": self._answered.describe(), "pictures": bool(self.tars)}

    @cached_property
    def _answered(self) -> AnsweredFaces:
        return read_answers(self.work)  # which looks at every part: once, not for every shard

    @cached_property
    def _annotator(self) -> dict[str, str]:
        described = self._answered.describe()
        return {name: described[name] for name in ("annotator", "prompt_version", "date")}

    @cached_property
    def _places(self) -> dict[str, str]:
        """The tars by the name that the facts have; two of one name could not be told apart."""
        places = {name_of_tar(tar): tar for tar in self.tars}
        if len(places) < len(self.tars):
            raise CorpusError("two folders of tars have the same name: rename one, to tell their pictures apart")
        return places

    def _labelled(self, face: AnsweredFace) -> LabelledFace | Skipped:
        if REQUEST not in face.answers:
            return Skipped(face.id, f"annotator: {face.rejected.get(REQUEST, 'no answer')}")
        try:
            answer = check_answer(face.answers[REQUEST])
            image = self._crop(face.facts) if self.tars else None
        except InvalidAnswer as error:  # an older version of the check let it pass
            return Skipped(face.id, f"annotator: {error.reason}")
        except BrokenPicture as error:
            return Skipped(face.id, str(error))
        return LabelledFace(
            id=face.id,
            image=image,
            labels=labels_of(answer.attributes),
            split="train",
            source=SOURCE,
            license=LICENSE if image is None else "other",
            url=face.facts["url"],
            box=face.facts["box"],
            landmarks=face.facts["landmarks"],
            annotation={
                **self._annotator,
                "caption": answer.caption,
                "flags": list(answer.flags),
                "detection_score": face.facts["detection_score"],
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


def name_of_tar(tar: str) -> str:
    """A tar's folder and name, which stay where a whole download is moved."""
    return "/".join(Path(tar).parts[-2:])
