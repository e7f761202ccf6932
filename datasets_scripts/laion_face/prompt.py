"""What the annotator is told about a face of LAION-Face, and what counts as its answer.

It sees the crop and nothing else: the words that stood beside the picture on the web often name the person.
"""

import io
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from datasets_scripts.annotator.settings import Request, picture_part

from .answers import answer_schema, check_answer, definitions

if TYPE_CHECKING:
    from PIL import Image

PROMPT_VERSION = "laion-face-1"  # another wording is another version
REQUEST = "annotation"
ANNOTATOR_SIDE = 512  # pixels of the longer side: what the annotator sees of larger crops
JPEG_QUALITY = 92

INSTRUCTIONS = """\
You describe faces for a data set. Describe what can be seen, and only that. Never name the person or guess who it \
is, even where you believe to know. Say nothing of race, ethnicity, nationality, religion, health, sexual orientation \
or attractiveness. Where several faces can be seen, describe the largest: the picture was cut out around it.

Answer with one JSON object with two entries.

"caption": two to four plain English sentences about what can be seen of this face: apparent age and gender, hair, \
facial hair, eyes, brows, nose, mouth, skin, make-up, glasses, headwear and jewelry, expression, pose, light and \
background, as far as they can be seen. Do not list what is absent.

"attributes": one value for each of these, one of its options to the letter:
{definitions}"""

QUESTION = "Describe the face in this picture as the JSON object."


def face_request(crop: "Image.Image") -> Request:
    """The question about one crop, shown at 512 pixels of its longer side at most.

    What is the same for all faces stands first: endpoints keep a prefix that they have read before.
    """
    from PIL import Image

    shown = crop.copy()
    shown.thumbnail((ANNOTATOR_SIDE, ANNOTATOR_SIDE), Image.Resampling.LANCZOS)
    content = [picture_part(encode_jpeg(shown)), {"type": "text", "text": QUESTION}]
    messages = [
        {"role": "system", "content": INSTRUCTIONS.format(definitions=definitions())},
        {"role": "user", "content": content},
    ]
    return Request(REQUEST, messages, answer_schema())


def prompt_digest() -> str:
    """Changes with every word that the annotator is told, the table and the schema included."""
    words = json.dumps([INSTRUCTIONS, QUESTION, definitions(), answer_schema(), ANNOTATOR_SIDE, JPEG_QUALITY])
    return sha256(words.encode()).hexdigest()[:16]


def check_face_answer(name: str, answer: Any) -> Any:
    """What `annotate` calls with each answer; raises `InvalidAnswer` for one that is not kept."""
    return check_answer(answer)


def encode_jpeg(image: "Image.Image", quality: int = JPEG_QUALITY) -> bytes:
    """The bytes of a JPEG file."""
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()
