"""An exported Face-MLLM answers on ONNX Runtime: all questions about a face scored in one run, or written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .answers import FACES_ON_CPU, OPEN_TOKENS, OPTION_TOKENS, Answer, AskedFace, room_for, score_batch
from .predictions import Way

if TYPE_CHECKING:
    from facemllm_onnx.runtime.model import FaceMLLMForONNX


@dataclass
class ONNXAnswerer:
    """`batch_size` faces are scored together, and as many prompts written; each face is encoded once."""

    model: "FaceMLLMForONNX"
    batch_size: int = FACES_ON_CPU

    def answer(self, faces: Sequence[AskedFace], way: Way) -> Iterator[list[Answer]]:
        score = partial(self.model.score, batch_size=self.batch_size)
        for start in range(0, len(faces), self.batch_size):
            part = faces[start : start + self.batch_size]
            yield from score_batch(part, score) if way == "scoring" else self._write(part)

    def describe(self) -> dict[str, Any]:
        return {
            "model_class": type(self.model).__name__,
            "precision": self.model.record["precision"],
            "versions": self.model.record.get("versions"),
            "device": self.model.provider,
            "batch_size": self.batch_size,
            "option_tokens": OPTION_TOKENS,
            "open_tokens": OPEN_TOKENS,
        }

    def _write(self, faces: Sequence[AskedFace]) -> list[list[Answer]]:
        from modeling_facemllm.closed_questions_facemllm import question_messages

        features = [self.model.encode_images(list(face.images)) if face.images else None for face in faces]
        asked = [(number, question) for number, face in enumerate(faces) for question in face.questions]
        # Questions of one length of answer together; that of a face's own order is restored below.
        order = sorted(range(len(asked)), key=lambda place: room_for(asked[place][1]))
        answers: dict[int, Answer] = {}
        for room, alike in groupby(order, key=lambda place: room_for(asked[place][1])):
            while places := list(islice(alike, self.batch_size)):
                pairs = [asked[place] for place in places]
                messages = [question_messages(question.text, faces[face].images) for face, question in pairs]
                inputs = self.model.processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
                if inputs.pop("pixel_values", None) is not None:
                    inputs["image_features"] = np.concatenate(
                        [features[face] for face, _ in pairs if features[face] is not None]
                    )
                rows = self.model.generate_tokens(**inputs, max_new_tokens=room, do_sample=False)
                texts = self.model.processor.batch_decode(rows, skip_special_tokens=True)
                answers |= {place: Answer(text=text.strip()) for place, text in zip(places, texts, strict=True)}
        rest = iter(answers[place] for place in range(len(asked)))
        return [[next(rest) for _ in face.questions] for face in faces]
