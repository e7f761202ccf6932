"""Which faces of a picture are kept: rules by size, score, sharpness and number, each rejection with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datasets_scripts.schema import CorpusArgumentError

if TYPE_CHECKING:
    from PIL import Image

    from modeling_facemllm.face_detection_facemllm import Face

# The least score, by who found the face. FaceCaption-15M's 0.98 is a score of RetinaFace's, which found LAION-Face's
# published faces. YuNet's scores are other numbers: they end at 0.96, and 0.8 keeps 98.1 % of 2,000 FairFace
# photographs, and 0.1 % of the same ones cut into tiles and shuffled (0.5: 99.4 % and 4.1 %; 0.9: 86.6 % and none).
MIN_SCORES = {"sample2detect": 0.98, "yunet": 0.8}


@dataclass(frozen=True)
class FaceRules:
    """What makes a face worth asking about.

    Args:
        min_crop: pixels that the crop's shorter side must have, margin included (FaceCaption-15M: more than 128).
        min_score: of the detection; None for what suits who found the face: 0.98 for LAION-Face's own detections
            (FaceCaption-15M), 0.8 for YuNet's.
        min_sharpness: of the face at 128 pixels, see `face_detection_facemllm.sharpness`; 0 keeps all. 10 leaves out
            2 % of FairFace's faces as they are, 19 % blurred by 2 pixels (Gaussian), 55 % blurred by 3.
        max_faces: pictures with more faces of that score are left out: crowds. The number is ours.
        margin: of the box's longer side, around the box.
        skip_nsfw: leave out what LAION's table calls NSFW.
    """

    min_crop: int = 129
    min_score: float | None = None
    min_sharpness: float = 10.0
    max_faces: int = 5
    margin: float = 0.25
    skip_nsfw: bool = True

    def __post_init__(self) -> None:
        for name, low in (("min_crop", 1), ("min_sharpness", 0), ("max_faces", 1)):
            if (value := getattr(self, name)) < low:
                raise CorpusArgumentError(name, value, f"give {low} or more")
        for name, high in (("margin", 2), ("min_score", 1)):
            if (value := getattr(self, name)) is not None and (value < 0 or value > high):
                raise CorpusArgumentError(name, value, f"give 0 to {high}")

    def least_score(self, detector: str) -> float:
        """The least score of a face that `detector` found."""
        return MIN_SCORES[detector] if self.min_score is None else self.min_score


@dataclass(frozen=True)
class KeptFace:
    """A face that passed, with its place among the picture's faces and what is cut out for it."""

    number: int
    face: "Face"
    crop: tuple[int, int, int, int]
    sharpness: float


def sift(
    image: "Image.Image", faces: Sequence["Face"], rules: FaceRules, detector: str
) -> Iterator[KeptFace | tuple[int | None, str]]:
    """Each face that is kept, or its number and why it is not; no number where it is the picture that is not used."""
    from modeling_facemllm.face_detection_facemllm import crop_box, sharpness

    least = rules.least_score(detector)
    if not faces:
        yield None, "no face found"
        return
    if sum(face.score >= least for face in faces) > rules.max_faces:
        yield None, f"more than {rules.max_faces} faces"
        return
    for number, face in enumerate(faces):
        if face.score < least:
            yield number, f"score below {least:g}"
            continue
        crop = crop_box(image.size, face.box, rules.margin)
        if min(crop[2] - crop[0], crop[3] - crop[1]) < rules.min_crop:
            yield number, f"crop smaller than {rules.min_crop} pixels"
            continue
        sharp = sharpness(image, face.box)
        if sharp < rules.min_sharpness:
            yield number, f"sharpness below {rules.min_sharpness:g}"
            continue
        yield KeptFace(number, face, crop, sharp)
