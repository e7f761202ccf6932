"""`pipeline("face-analysis")`: photos in, one plain dict per face out."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from transformers import Pipeline

from .answering_facemllm import answer_about, encode_faces
from .closed_questions_facemllm import ClosedQuestion
from .errors_facemllm import ArgumentError
from .face_detection_facemllm import FaceDetector
from .face_finding_facemllm import DETECTORS, FaceChoice, FoundFace, is_boxes, load_detector, whole_picture
from .face_task_table_facemllm import DEFAULT_FACE_TASKS
from .face_tasks_facemllm import FaceTask, choose_tasks, face_tasks
from .image_loading_facemllm import is_array, load_image
from .picture_stream_facemllm import each_image, holds_several, read_ahead, with_boxes
from .scoring_facemllm import score_options

if TYPE_CHECKING:  # not needed here: transformers 4.57 copies from a folder only what the pipeline's own file names
    from .finite_numbers_facemllm import FiniteLogits  # noqa: F401
    from .option_scores_facemllm import Scores  # noqa: F401
    from .packed_scoring_facemllm import PackedScorer  # noqa: F401
    from .token_tree_facemllm import TokenTree  # noqa: F401
    from .url_fetching_facemllm import fetch  # noqa: F401
    from .user_texts_facemllm import as_text  # noqa: F401
    from .versions_facemllm import TESTED  # noqa: F401

BATCH_SIZE = 8
WAITING_PHOTOS = 64
CHOICES = {"on_no_face": ("skip", "whole", "raise"), "on_error": ("raise", "return")}
FACE_CHOICE = tuple(field.name for field in fields(FaceChoice) if field.name != "side")
PARAMETERS = ("tasks", "questions", "detector", *FACE_CHOICE, "on_error", "max_new_tokens")


@dataclass
class _Photo:
    """One input in progress: its faces, and the model's results for them so far."""

    faces: list[FoundFace]
    results: list[dict[str, Any]]
    error: str | None = None


class FaceAnalysisPipeline(Pipeline):
    """Finds the faces of photos and says of each what a Face-MLLM is asked about it.

        analyze = pipeline("face-analysis", model="org/face-mllm", trust_remote_code=True)
        analyze("photo.jpg", tasks=["age", "gender"], questions=["What does this person wear?"])

    Every parameter can be given here and, for one call, to the call. Facial expressions are what a face shows, not
    what a person feels. The European Union prohibits inferring emotions at work or in schools, and categorising people
    by race from their faces (AI Act, Art. 5). Race is answered only where `tasks` names it, never as part of `"all"`.
    The pipeline describes faces; it does not recognise people.

    Args:
        tasks (`list[str | dict]`, *optional*): what is answered with probabilities: names of the model's tasks
            (`config.face_tasks`, else the project's table: `age`, `age_years`, `gender`, `expression`, `valence`,
            `arousal`, `yaw`, `pitch`, `roll`, `race` and about 110 attributes such as `eyeglasses` or `headwear`), or
            `"attributes"`, `"pose"`, `"all"`; a closed question of one's own is `{"name": "scarf", "question": "Is
            there a scarf?", "options": ["yes", "no"]}`. By default all tasks of `config.face_tasks` that are not on
            request, else gender, age and expression. With `[]`, and no questions, faces are only found.
        questions (`list[str]`, *optional*): free questions, answered in words.
        detector (*optional*, defaults to `"yunet"`): `"yunet"` (needs OpenCV; its weights are those of the installed
            package facemllm, and come from the Hub where a model folder's own code runs), path or Hub id of its .onnx,
            `"none"` (each picture is one face as it is), a function from an upright RGB PIL image to faces, or, in a
            call, the boxes of the picture, for several pictures one entry each. Faces are boxes `[x0, y0, x1, y1]`, or
            mappings or objects with `box` and perhaps `landmarks` and `score`.
        align (`bool`, *optional*, defaults to `False`):
            Turn faces upright, to ArcFace's five points, where known: for a model that was trained on aligned faces.
            What lies outside the photo is black, and of the head's angles only what is left over is seen.
        margin (`float`, *optional*, defaults to `config.face_margin`, else 0.25):
            What is shown around a face: share of its box's longer side, on each side; below 0 a part of the box.
        on_no_face (`"skip"`, `"whole"` or `"raise"`, *optional*, defaults to `"skip"`):
            Where no face is found: an empty list, the whole picture as one face, or an error.
        max_faces (`int`, *optional*): keep this many of a picture's faces, the largest ones.
        min_score (`float`, *optional*): drop fainter detections; YuNet's own default is 0.6.
        on_error (`"raise"` or `"return"`, *optional*, defaults to `"raise"`): `"return"` gives `{"error": "…"}` in
            place of the faces of a picture that cannot be read or searched, so that the others are not lost.
        max_new_tokens (`int`, *optional*, defaults to 64): length of the answers to `questions`.
        batch_size (`int`, *optional*, defaults to 8): faces at once, of one or several pictures.
        num_workers (`int`, *optional*, defaults to 0): threads that read and search pictures ahead of the model.

    Raises:
        ValueError: for an argument that makes no sense, or a detector that cannot be had, before anything is read.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_video_processor = False

    def __init__(self, *args, **kwargs):
        self._detectors: dict[Any, Any] = {}
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ArgumentError("processor", None, "give the model's processor, AutoProcessor.from_pretrained(folder)")
        given = self._preprocess_params
        _check_counts(batch_size=self._batch_size, num_workers=self._num_workers)
        if is_boxes(given.get("detector")):
            raise ArgumentError(
                "detector", given["detector"], "boxes are those of a picture, so give them in the call"
            )
        if "detector" in given:
            self._detect_with(given["detector"], given.get("min_score"))

    def __call__(self, images: Any, *, batch_size: int | None = None, num_workers: int | None = None, **parameters):
        """The faces of one picture, of several, or of a stream of them.

        Args:
            images: path, URL, bytes, base64, PIL image, array or tensor; a list of them (or an array of four
                dimensions); or a generator, iterator, `KeyDataset` or column of a data set, which is gone through
                lazily, in memory that does not grow with it.
            batch_size, num_workers, parameters: as for the class, for this call only.

        Returns:
            A list of faces for one picture, a list of those for a list, an iterator over them for a stream. A face is
            `{"box": [x0, y0, x1, y1], "landmarks": [[x, y]] * 5 | None, "detection_score": float | None,
            "aligned": bool, "tasks": {name: {"label", "score", "scores"}}, "answers": {question: text}}`, in pixels of
            the upright picture (EXIF). Tasks of kind age add `age` in years and `interval`, those of angles `degrees`
            and `interval`: the expectation over the middles of the answers' ranges and the central 80 %. Plain Python,
            as JSON takes it.

        Raises:
            ValueError: for bad arguments, at once; and, unless `on_error="return"`, for a picture that cannot be
                read, is without a face under `on_no_face="raise"`, or has boxes that are none.
        """
        _check_counts(batch_size=batch_size, num_workers=num_workers)
        preprocess, forward, _ = self._sanitize_parameters(**parameters)
        preprocess, forward = self._preprocess_params | preprocess, self._forward_params | forward
        forward.setdefault("chosen", choose_tasks(None, *self.known_tasks))
        detector = preprocess.pop("detector", "yunet")
        single = not holds_several(images)
        inputs = (
            with_boxes(images, detector, single) if is_boxes(detector) else ((i, None) for i in each_image(images))
        )
        preprocess["detect"] = None if is_boxes(detector) else self._detect_with(detector, preprocess.get("min_score"))
        batch_size = batch_size or self._batch_size or BATCH_SIZE
        forward["batch_size"] = batch_size
        num_workers = self._num_workers or 0 if num_workers is None else num_workers
        if single:
            return next(self._stream(inputs, batch_size, 0, preprocess, forward, numbered=False))
        results = self._stream(inputs, batch_size, num_workers, preprocess, forward)
        return list(results) if isinstance(images, (list, tuple)) or is_array(images) else results

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any):
        """Save model and processor: a folder that this pipeline loads from again."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)

    def _sanitize_parameters(self, **given):
        for name in given:
            if name not in PARAMETERS:
                near = get_close_matches(name, PARAMETERS) or PARAMETERS
                raise ArgumentError(name, given[name], f"there is no such parameter; did you mean {', '.join(near)}?")
        for name, possible in CHOICES.items():
            if given.get(name, possible[0]) not in possible:
                raise ArgumentError(name, given[name], f"take {', '.join(map(repr, possible))}")
        if not isinstance(given.get("align", False), bool):
            raise ArgumentError("align", given["align"], "give True or False")
        _check_counts(max_faces=given.get("max_faces"), max_new_tokens=given.get("max_new_tokens", 1))
        _check_number(
            "margin", given.get("margin", 0.0), -0.25, 10, "share of the box's longer side, from -0.25 to 10"
        )
        if given.get("min_score") is not None:
            _check_number("min_score", given["min_score"], 1e-6, 1, "score, more than 0 and at most 1")
        if "detector" in given and given["detector"] is None:
            raise ArgumentError("detector", None, f"give {DETECTORS}")
        forward = {name: given[name] for name in ("max_new_tokens",) if name in given}
        if "tasks" in given:
            forward["chosen"] = choose_tasks(given["tasks"], *self.known_tasks)
        if "questions" in given:
            forward["questions"] = _checked_questions(given["questions"] or ())
        return {name: given[name] for name in ("detector", *FACE_CHOICE, "on_error") if name in given}, forward, {}

    @cached_property
    def known_tasks(self) -> tuple[dict[str, FaceTask], Sequence[str]]:
        """The model's tasks by name, and the names of those that are asked by default."""
        described = getattr(self.model.config, "face_tasks", None)
        table = face_tasks(described)
        return table, DEFAULT_FACE_TASKS if described is None else [
            name for name in table if not table[name].on_request
        ]

    def _detect_with(
        self, detector: str | os.PathLike | FaceDetector | Callable, min_score: float | None
    ) -> Callable[[Image.Image], Any] | None:
        if not isinstance(detector, (str, os.PathLike)):
            return load_detector(detector)
        key = (os.fspath(detector), min_score)
        if key not in self._detectors:
            self._detectors[key] = load_detector(detector, min_score)
        return self._detectors[key]

    def _stream(
        self,
        inputs: Iterable[tuple[Any, Any]],
        batch_size: int,
        num_workers: int,
        preprocess: dict[str, Any],
        forward: dict[str, Any],
        numbered: bool = True,
    ) -> Iterator[Any]:
        """One result per input, in order; faces wait for others only until `WAITING_PHOTOS` photos wait for them."""
        photos: deque[_Photo] = deque()
        faces: deque[tuple[_Photo, FoundFace]] = deque()

        def prepare(numbered_input: tuple[int, tuple[Any, Any]]) -> _Photo:
            number, (image, found) = numbered_input
            try:
                return self.preprocess(image, found=found, **preprocess)
            except Exception as error:
                if preprocess.get("on_error") == "return":
                    return _Photo([], [], error=str(error))
                if isinstance(error, (ValueError, OSError)):
                    raise ValueError(f"image {number}: {error}" if numbered else str(error)) from error
                raise

        for photo in read_ahead(prepare, enumerate(inputs), num_workers):
            photos.append(photo)
            faces.extend((photo, face) for face in photo.faces)
            while len(faces) >= batch_size or (faces and len(photos) >= WAITING_PHOTOS):
                self._look_at([faces.popleft() for _ in range(min(batch_size, len(faces)))], forward)
            while photos and len(photos[0].results) == len(photos[0].faces):
                yield self.postprocess(photos.popleft())
        while faces:
            self._look_at([faces.popleft() for _ in range(min(batch_size, len(faces)))], forward)
        while photos:
            yield self.postprocess(photos.popleft())

    def _look_at(self, faces: Sequence[tuple[_Photo, FoundFace]], forward: dict[str, Any]) -> None:
        results = self.forward([face.picture for _, face in faces], **forward)
        for (photo, face), about_it in zip(faces, results, strict=True):
            face.picture = None
            photo.results.append(about_it)

    def preprocess(self, image: Any, *, detect=None, found: Any = None, on_error: str = "raise", **choice) -> _Photo:
        """Read a picture, find its faces and cut them out. `found` is what the caller says of its faces."""
        image = load_image(image)
        if detect is None and found is None:
            return _Photo([whole_picture(image)], [])
        config = self.model.config
        side = getattr(config, "image_size", None) or FaceChoice.side
        if (margin := getattr(config, "face_margin", None)) is not None:
            choice.setdefault("margin", margin)
        return _Photo(FaceChoice(**choice, side=side).faces_of(image, found if detect is None else detect(image)), [])

    def _forward(
        self,
        faces: list[Image.Image],
        chosen: Sequence[FaceTask],
        questions: Sequence[str] = (),
        max_new_tokens: int = 64,
        batch_size: int = BATCH_SIZE,
    ) -> list[dict[str, Any]]:
        probabilities: list[list[list[float]]] = [[] for _ in faces]
        if chosen:
            closed = [ClosedQuestion(task.question, task.options) for task in chosen]
            probabilities = score_options(self.model, self.processor, faces, closed, batch_size=len(faces))
        answers: list[dict[str, str]] = [{} for _ in faces]
        if questions:  # a face is encoded once, and questions about one face and others share passes
            features = encode_faces(self.model, self.processor, faces)
            asked = [(face, question) for face in range(len(faces)) for question in questions]
            texts = answer_about(self.model, self.processor, features, asked, max_new_tokens, batch_size)
            for (face, question), text in zip(asked, texts, strict=True):
                answers[face][question] = text
        return [
            {
                "tasks": {task.name: _task_answer(task, p) for task, p in zip(chosen, of_face, strict=True)},
                "answers": results,
            }
            for of_face, results in zip(probabilities, answers, strict=True)
        ]

    def postprocess(self, photo: _Photo) -> list[dict[str, Any]] | dict[str, str]:
        """The faces of a photo as plain data, or `{"error": "…"}`."""
        if photo.error is not None:
            return {"error": photo.error}
        return [
            {
                "box": [round(side, 2) for side in found.face.box],
                "landmarks": None
                if found.face.landmarks is None
                else [[round(float(side), 2) for side in point] for point in found.face.landmarks],
                "detection_score": None if found.face.score is None else round(found.face.score, 4),
                "aligned": found.aligned,
                **results,
            }
            for found, results in zip(photo.faces, photo.results, strict=True)
        ]


def _task_answer(task: FaceTask, probabilities: Sequence[float]) -> dict[str, Any]:
    scores = {option: round(float(p), 6) for option, p in zip(task.options, probabilities, strict=True)}
    label = task.options[int(np.argmax(probabilities))]
    answer = {"label": label, "score": scores[label], "scores": scores}
    estimate = task.estimate(probabilities)
    if estimate is not None:
        number, low, high = (round(float(figure), 1) for figure in estimate)
        answer |= {"age" if task.kind == "age" else "degrees": number, "interval": [low, high]}
    return answer


def _checked_questions(questions: Any) -> list[str]:
    listed = [questions] if isinstance(questions, str) else questions
    if not isinstance(listed, (list, tuple)) or not all(isinstance(one, str) and one.strip() for one in listed):
        raise ArgumentError("questions", questions, "give a list of texts")
    return list(dict.fromkeys(listed))


def _check_counts(**counts: Any) -> None:
    for name, count in counts.items():
        least = 0 if name == "num_workers" else 1
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < least):
            raise ArgumentError(name, count, f"give a whole number, {least} or more")


def _check_number(name: str, value: Any, low: float, high: float, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ArgumentError(name, value, f"give a {what}")
