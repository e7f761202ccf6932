"""Small sources of faces to ask about, and a check of the answers, for the tests of the annotator."""

from dataclasses import dataclass

from datasets_scripts.annotator import FaceToAsk, Request, picture_part
from datasets_scripts.face_attributes import InvalidAnswer
from datasets_scripts.schema import Skipped

SCHEMA = {
    "type": "object",
    "properties": {
        "caption": {"type": "string"},
        "glasses": {"type": "string", "enum": ["none", "clear", "dark", "unsure"]},
    },
    "required": ["caption", "glasses"],
    "additionalProperties": False,
}
PIXELS = bytes(range(256)) * 4  # what a picture's bytes have in common, to look for where pixels must not be


def jpeg(name: str) -> bytes:
    """Bytes that are unlike every other picture's; the server hashes them, and nobody decodes them."""
    return b"\xff\xd8\xff" + name.encode() + PIXELS + b"\xff\xd9"


@dataclass(frozen=True)
class Faces:
    """``parts`` parts of ``each`` rows, every seventh without a face; ``questions`` in words follow the table's."""

    parts: int = 1
    each: int = 10
    questions: tuple[str, ...] = ()
    version: str = "1"

    def __len__(self):
        return self.parts

    def faces(self, part):
        for row in range(self.each):
            name = f"faces/{part}/{row}"
            if row % 7 == 6:
                yield Skipped(name, "no face")
                continue
            shown = picture_part(jpeg(name))
            asked = [Request("table", [user(shown, "Describe this face.")], SCHEMA)]
            asked += [Request(words, [user(shown, words)]) for words in self.questions]
            yield FaceToAsk(name, tuple(asked), {"url": f"{row}.jpg", "box": [0, 0, row + 1, row + 1]})

    def describe(self):
        return {"name": "faces", "each": self.each, "version": self.version}


def user(shown, words):
    return {"role": "user", "content": [shown, {"type": "text", "text": words}]}


def check(name, answer):
    """The table must have its two entries; any text will do."""
    if name == "table" and (not isinstance(answer, dict) or set(answer) != set(SCHEMA["properties"])):
        raise InvalidAnswer("not of the schema")
