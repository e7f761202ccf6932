"""Small sources of faces to ask about, and a check of the answers, for the tests of the annotator."""

from dataclasses import dataclass

from datasets_scripts.annotator.answers import read_answers
from datasets_scripts.annotator.settings import FaceToAsk, InvalidAnswer, Request, picture_part
from datasets_scripts.schema import Skipped, assistant_turn, make_record, user_turn

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
    """`parts` parts of `each` rows, every seventh without a face; `questions` in words follow the table's."""

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


@dataclass(frozen=True)
class AnsweredRecords:
    """The captions in the work folder `work`, as `write_corpus` takes them."""

    work: str

    def __len__(self):
        return len(read_answers(self.work))

    def describe(self):
        return read_answers(self.work).describe()

    def records(self, start, stop):
        described = self.describe()
        for face in read_answers(self.work).answers(start, stop):
            if isinstance(face, Skipped):
                yield face
            elif "table" in face.rejected:
                yield Skipped(face.id, face.rejected["table"])
            else:
                caption = face.answers["table"]["caption"]
                yield make_record(
                    id=face.id,
                    messages=[user_turn("Describe this face.", image=True), assistant_turn(caption)],
                    task="caption",
                    split="train",
                    source="faces",
                    license="cc0-1.0",
                    **face.facts,
                    annotation={name: described[name] for name in ("annotator", "prompt_version", "date")},
                )


def user(shown, words):
    return {"role": "user", "content": [shown, {"type": "text", "text": words}]}


def check(name, answer):
    """The table must have its two entries; any text will do."""
    if name == "table" and (not isinstance(answer, dict) or set(answer) != set(SCHEMA["properties"])):
        raise InvalidAnswer("not of the schema")
