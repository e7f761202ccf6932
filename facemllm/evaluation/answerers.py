"""Who answers: a Face-MLLM, its ONNX export, or any other image-text-to-text model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from facemllm.cli import UserError

from .answers import (
    FACES_ON_CPU,
    OPEN_TOKENS,
    OPTION_TOKENS,
    Answer,
    Answerer,
    AskedFace,
    AskedQuestion,
    room_for,
    score_batch,
)
from .predictions import Way

if TYPE_CHECKING:
    from PIL import Image


@dataclass
class GenericAnswerer:
    """Any image-text-to-text chat model of transformers, a prompt for each question.

    `batch_size` prompts go through the model at once.
    """

    model: Any
    processor: Any
    batch_size: int = 8

    def answer(self, faces: Sequence[AskedFace], way: Way) -> Iterator[list[Answer]]:
        if way == "scoring":
            yield from self._score(faces)
            return
        asked = [(face.images, question) for face in faces for question in face.questions]
        answers = iter(self._write(asked))
        for face in faces:
            yield [next(answers) for _ in face.questions]

    def describe(self) -> dict[str, Any]:
        return {
            "model_class": type(self.model).__name__,
            "revision": getattr(self.model.config, "_commit_hash", None),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "batch_size": self.batch_size,
            "option_tokens": OPTION_TOKENS,
            "open_tokens": OPEN_TOKENS,
        }

    def _score(self, faces: Sequence[AskedFace]) -> Iterator[list[Answer]]:
        from modeling_facemllm.scoring_facemllm import score_each_alone

        score = partial(score_each_alone, self.model, self.processor, batch_size=self.batch_size)
        for face in faces:
            yield from score_batch([face], score)

    def _write(self, asked: Sequence[tuple[tuple["Image.Image", ...], AskedQuestion]]) -> Iterator[Answer]:
        from facemllm.inference.answering import answer_prompts

        for room, alike in groupby(asked, key=lambda pair: room_for(pair[1])):
            while part := list(islice(alike, self.batch_size)):
                prompts = [(question.text, images) for images, question in part]
                for text in answer_prompts(self.model, self.processor, prompts, room):
                    yield Answer(text=text)


@dataclass
class FaceMLLMAnswerer(GenericAnswerer):
    """A Face-MLLM: all questions about a face scored in one pass, and each face encoded once however many there are.

    `batch_size` faces go through the model at once, and are answered together.
    """

    batch_size: int = 64

    def _score(self, faces: Sequence[AskedFace]) -> Iterator[list[Answer]]:
        from modeling_facemllm.scoring_facemllm import score_options

        score = partial(score_options, self.model, self.processor, batch_size=self.batch_size)
        for start in range(0, len(faces), self.batch_size):
            yield from score_batch(faces[start : start + self.batch_size], score)

    def answer(self, faces: Sequence[AskedFace], way: Way) -> Iterator[list[Answer]]:
        if way == "scoring" or any(len(face.images) != 1 for face in faces) or not _share_questions(faces):
            yield from super().answer(faces, way)
            return
        for start in range(0, len(faces), self.batch_size):
            yield from self._write_together(faces[start : start + self.batch_size])

    def _write_together(self, faces: Sequence[AskedFace]) -> Iterator[list[Answer]]:
        """What is written about a batch of faces with a picture each: question by question, each of all faces."""
        from modeling_facemllm.answering_facemllm import answer_about, encode_faces

        features = encode_faces(self.model, self.processor, [face.images[0] for face in faces])
        places: dict[AskedQuestion, list[int]] = {}
        for position, face in enumerate(faces):
            for question in face.questions:
                places.setdefault(question, []).append(position)
        answers: dict[tuple[int, AskedQuestion], Answer] = {}
        for question, positions in places.items():
            asked = [(position, question.text) for position in positions]
            room = room_for(question)
            texts = answer_about(self.model, self.processor, features, asked, room, self.batch_size)
            for position, text in zip(positions, texts, strict=True):
                answers[position, question] = Answer(text=text)
        for position, face in enumerate(faces):
            yield [answers[position, question] for question in face.questions]


def _share_questions(faces: Sequence[AskedFace]) -> bool:
    """Whether the same questions are asked about several faces, which can then be answered together."""
    asked = [question for face in faces for question in face.questions]
    return len(faces) == 1 or len(set(asked)) < len(asked)


BACKENDS = ("torch", "onnx")
"""What runs a model, by the word on the command line."""


def backend_of(model: str) -> str:
    """The backend that runs a model: `onnx` for an export, else `torch`."""
    from facemllm.inference.exports import is_onnx_export

    return "onnx" if is_onnx_export(model) else "torch"


def load_answerer(
    backend: str,
    model: str,
    *,
    device: str = "auto",
    adapter: str | None = None,
    batch_size: int | None = None,
    trust_remote_code: bool = False,
) -> Answerer:
    """The answerer of `model`, a folder or a Hub id, on `backend`: PyTorch, or ONNX Runtime for an export.

    `batch_size` is the answerer's own by default, `FACES_ON_CPU` on a CPU.

    Raises:
        UserError: for a backend that there is not, for an adapter to an export, which has merged it or has not, and
            as `loading.load_model` and `exports.load_runtime`.
    """
    if backend not in BACKENDS:
        raise UserError(f"--backend {backend}: give one of {', '.join(BACKENDS)}")
    kind: type[Any]
    if backend == "onnx":
        from facemllm.inference.exports import load_runtime

        from .onnx_answerer import ONNXAnswerer

        if adapter is not None:
            raise UserError(f"--adapter {adapter}: an ONNX export takes none; export the model with the adapter")
        kind, loaded = ONNXAnswerer, (load_runtime(model, device),)
    else:
        from facemllm.inference.exports import is_onnx_export
        from facemllm.inference.loading import load_model

        if is_onnx_export(model):
            raise UserError(f"--backend {backend}: {model} is an ONNX export; leave --backend out")
        loaded = network, _ = load_model(model, device, trust_remote_code, adapter=adapter)
        if network.device.type == "cpu":
            batch_size = batch_size or FACES_ON_CPU
        kind = FaceMLLMAnswerer if network.config.model_type == "facemllm" else GenericAnswerer
    return kind(*loaded, **({} if batch_size is None else {"batch_size": batch_size}))
