"""Re-annotating LAION-Face: tars → faces → an annotator's captions and attributes → a corpus.

Zheng et al., "General Facial Representation Learning in a Visual-Linguistic Manner", CVPR 2022. The rules
follow FaceCaption-15M (Dai et al., 2024). https://github.com/FacePerceiver/LAION-Face
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets_scripts.annotator.annotate import Answered, annotate_corpus
from datasets_scripts.annotator.settings import Annotator, FaceToAsk
from datasets_scripts.build import keep_apart
from datasets_scripts.questions.conversations import AskedFaces
from datasets_scripts.schema import CorpusArgumentError, Skipped

from .detections import Detections, convert_detections
from .pictures import BrokenPicture, UprightPicture, changed_since_published, upright_picture
from .prompt import PROMPT_VERSION, check_face_answer, face_request, prompt_digest
from .records import CONFIGS, CONVENTIONS, DESCRIPTION, LICENSE, NOTICE, TASKS, AnsweredLaionFaces, name_of_tar
from .rules import FaceRules, KeptFace, sift
from .tars import TarSample, find_tars, read_tar

if TYPE_CHECKING:
    from modeling_facemllm.face_detection_facemllm import Face, FaceDetector

YUNET = "opencv/face_detection_yunet"
NAME = "LAION-Face, re-annotated"


@dataclass(frozen=True)
class LaionFaces:
    """The faces of img2dataset's tars that pass the rules, a tar a part: a `FaceSource`.

    `weights` is the path of YuNet's file, `detections` a folder that `convert_detections` returned; a sample
    that is not in them, or whose picture has another size than when it was published, is searched with YuNet. Use
    `from_pretrained` to have weights fetched and detections converted.
    """

    shards: tuple[str, ...]
    weights: str
    detections: str | None = None
    rules: FaceRules = field(default_factory=FaceRules)

    @classmethod
    def from_pretrained(
        cls,
        shards: str | os.PathLike | Sequence[str],
        *,
        detector: str = YUNET,
        detections: str | None = None,
        rules: FaceRules | None = None,
        progress: bool = True,
    ) -> "LaionFaces":
        """The faces of a folder of tars, of one tar or of several; `detector` as `FaceDetector.from_pretrained`.

        Raises `CorpusError` where there are no tars, no detections, no YuNet or no OpenCV.
        """
        from modeling_facemllm.face_detection_facemllm import FaceDetector

        tars = find_tars(shards)
        try:
            weights = FaceDetector.from_pretrained(detector).weights
        except (ImportError, OSError, ValueError) as error:
            raise CorpusArgumentError("detector", detector, f"{error}") from error
        tables = None if detections is None else convert_detections(detections, progress=progress)
        return cls(tars, str(Path(weights).absolute()), tables, FaceRules() if rules is None else rules)

    def __len__(self) -> int:
        return len(self.shards)

    def faces(self, part: int) -> Iterator[FaceToAsk | Skipped]:
        """The faces of one tar with the question about each, or the reasons for none."""
        for sample in read_tar(self.shards[part]):
            if isinstance(sample, Skipped):
                yield sample
                continue
            nsfw = sample.meta.get("NSFW")
            if self.rules.skip_nsfw and isinstance(nsfw, str) and nsfw.upper() == "NSFW":
                yield Skipped(sample.id, "called NSFW by LAION")
                continue
            try:
                picture = upright_picture(sample.picture, sample.meta)
            except BrokenPicture as error:
                yield Skipped(sample.id, str(error))
                continue
            faces, detector = self._find(sample, picture)
            for found in sift(picture.image, faces, self.rules, detector):
                if isinstance(found, KeptFace):
                    request = face_request(picture.image.crop(found.crop))
                    facts = _facts(sample, picture, found, self.shards[part])
                    yield FaceToAsk(f"{sample.id}/{found.number}", (request,), facts)
                else:
                    number, reason = found
                    yield Skipped(sample.id if number is None else f"{sample.id}/{number}", reason)

    def describe(self) -> dict[str, Any]:
        """What the faces and the questions depend on; tars by name and size, too large to be read for this."""
        with open(self.weights, "rb") as file:
            weights = file_digest(file, "sha256").hexdigest()
        return {
            "name": "laion_face",
            "tars": [[name_of_tar(tar), os.path.getsize(tar)] for tar in self.shards],
            "weights": weights,
            "detections": None if self._detections is None else self._detections.describe(),
            "rules": asdict(self.rules),
            "prompt": [PROMPT_VERSION, prompt_digest()],
        }

    @cached_property
    def _detections(self) -> Detections | None:
        return None if self.detections is None else Detections(self.detections)

    def _find(self, sample: TarSample, picture: UprightPicture) -> tuple[list["Face"], str]:
        """The faces of a picture, and who found them."""
        if self._detections is not None and sample.sample_id is not None and not changed_since_published(sample.meta):
            rows = self._detections.find(sample.sample_id)
            if rows is not None:
                return _published_faces(rows, picture), "sample2detect"
        return _detector(self.weights).detect(picture.image), "yunet"


def annotate_laion(
    shards: str | os.PathLike | Sequence[str],
    out: str | os.PathLike,
    annotator: Annotator,
    *,
    configs: Sequence[str] = CONFIGS,
    detector: str = YUNET,
    detections: str | None = None,
    rules: FaceRules | None = None,
    include_images: bool = False,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Re-annotate the faces of img2dataset's tars and write them as a corpus that `load_dataset` reads.

    Args:
        shards: the folder that img2dataset wrote, one of its tars, or several.
        annotator: whom to ask, and how; its `prompt_version` is set here.
        configs: which of `captions`, `vqa`, `face_tasks` and `zero_shot` are written.
        detector: YuNet's ONNX file, or a Hub repository with it.
        detections: the folder with LAION-Face's `sample2detect_*.pth`, or the tables made of them.
        include_images: carry the crops too. Nobody but the people in them and the photographers can allow to pass
            them on: for use at your own place only, and where the law lets you.
        options: go to `annotate_corpus`, whose report is returned, and of it to `write_corpus`.

    Raises:
        CorpusError: for a mistake in the arguments, or an endpoint that does not answer.
    """
    unknown = [config for config in configs if config not in CONFIGS]
    if unknown or not configs:
        raise CorpusArgumentError("configs", ", ".join(unknown), f"give one or more of {', '.join(CONFIGS)}")
    for place in [shards] if isinstance(shards, (str, os.PathLike)) else shards:
        if os.path.isdir(place):
            keep_apart(place, out)
    source = LaionFaces.from_pretrained(
        shards, detector=detector, detections=detections, rules=rules, progress=progress
    )

    def read(work: Path, report: Mapping[str, Any]) -> Answered:
        answered = AnsweredLaionFaces(str(work), source.shards if include_images else ())
        records = {config: AskedFaces(answered, config, TASKS, seed, conventions=CONVENTIONS) for config in configs}
        filled = {config: rows for config, rows in records.items() if report["valid"] and _has_rows(rows)}
        return filled, [config for config in records if config not in filled], {}

    return annotate_corpus(
        source,
        replace(annotator, prompt_version=PROMPT_VERSION),
        out,
        read,
        name=NAME,
        check=check_face_answer,
        license="other" if include_images else LICENSE,
        description=DESCRIPTION,
        notices=[NOTICE],
        include_images=include_images,
        progress=progress,
        **{"command": "datasets_scripts.laion_face.annotation.annotate_laion(...)", **options},
    )


def _has_rows(asked: AskedFaces) -> bool:
    return any(not isinstance(record, Skipped) for record in asked.records(0, len(asked)))


def _facts(sample: TarSample, picture: UprightPicture, found: KeptFace, tar: str) -> dict[str, Any]:
    box = picture.at_url(np.reshape(found.face.box, (2, 2))).ravel()
    return {
        "url": sample.meta["url"],
        "box": np.round(box, 2).tolist(),
        "landmarks": np.round(picture.at_url(found.face.landmarks), 2).tolist(),
        "detection_score": round(found.face.score, 4),
        "sharpness": round(found.sharpness, 1),
        "tar": name_of_tar(tar),
        "offset": sample.offset,
        "size": len(sample.picture),
        "crop": list(found.crop),
        "orientation": picture.orientation,
    }


def _published_faces(rows: np.ndarray, picture: UprightPicture) -> list["Face"]:
    """Faces of LAION-Face's detections in pixels of the picture; what lies outside it is cut off."""
    from modeling_facemllm.face_detection_facemllm import Face

    faces = []
    for row in rows:
        corners = picture.from_detections(row[:4])
        (x0, y0), (x1, y1) = np.clip([corners.min(axis=0), corners.max(axis=0)], 0, picture.image.size)
        if x0 < x1 and y0 < y1 and np.isfinite(row).all():
            landmarks = picture.from_detections(row[4:14]).astype(np.float32)
            faces.append(Face((float(x0), float(y0), float(x1), float(y1)), landmarks, float(row[14])))
    return faces


@lru_cache(maxsize=1)
def _detector(weights: str) -> "FaceDetector":
    """A process's own detector, on one core: the processes share out the others."""
    import cv2

    from modeling_facemllm.face_detection_facemllm import FaceDetector

    cv2.setNumThreads(1)
    return FaceDetector(weights)
