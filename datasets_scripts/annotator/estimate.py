"""The dry run: how many questions an annotation would ask, and about how many tokens and how much money it takes."""

import json
import math
from collections import Counter
from typing import Any

from .parsing import payload
from .settings import Annotator, FaceSource, FaceToAsk, share_of

CHARACTERS_PER_TOKEN = 4.0  # of English; JSON schemata are about the same
PIXELS_PER_TOKEN = 28  # a side: Qwen2.5-VL's patches, merged two by two; GPT-4o takes about as many at 512 px
CAPTION_TOKENS = 150  # where an answer is free text: about 110 words
PARTS_READ = 4


def estimate(
    source: FaceSource, annotator: Annotator, sample: int = 200, limit: int | None = None, progress: bool = True
) -> dict[str, Any]:
    """What `annotate` would ask and cost, from `sample` faces; the endpoint is not asked anything.

    All faces are counted where the source has at most four parts; else those of four parts spread over it, and
    `counted` is false.

    Returns `faces`, `skipped` rows by reason, `requests`, `input_tokens`, `output_tokens` and `cost` (None without
    prices); `most_output_tokens` and `most_cost`, if every question were asked `attempts` times and answered as
    long as `max_tokens` allows (None without it); `parts`, `parts_read`, `counted` and `sampled`, the faces
    looked at.
    """
    from tqdm import tqdm

    parts = len(source)
    number_read = min(parts, PARTS_READ)
    read = [round(index * (parts - 1) / max(1, number_read - 1)) for index in range(number_read)]
    sampled, skipped, faces = Counter(), Counter(), 0
    with tqdm(desc="estimating", unit="face", disable=not progress, mininterval=0.5) as bar:
        for number, part in enumerate(read):
            wanted = sample * (number + 1) // len(read)
            found = 0
            for face in source.faces(part) if share_of(limit, part, parts) != 0 else ():
                if not isinstance(face, FaceToAsk):
                    skipped[face.reason] += 1
                    continue
                found += 1
                bar.update()
                if sampled["faces"] < wanted:
                    sampled.update(_questions(annotator, face))
                if found == share_of(limit, part, parts):
                    break
            faces += found
    scale = parts / len(read)
    expected = round(faces * scale) if limit is None else min(limit, round(faces * scale))
    per_face = expected / max(1, sampled["faces"])
    asked, *tokens = (round(per_face * sampled[name]) for name in ("requests", "input_tokens", "output_tokens"))
    most = None if annotator.max_tokens is None else asked * annotator.attempts * annotator.max_tokens
    return {
        "faces": expected,
        "skipped": {reason: round(count * scale) for reason, count in skipped.most_common()},
        "requests": asked,
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "cost": annotator.cost(*tokens),
        "most_output_tokens": most,
        "most_cost": None if most is None else annotator.cost(tokens[0] * annotator.attempts, most),
        "parts": parts,
        "parts_read": len(read),
        "counted": len(read) == parts,
        "sampled": sampled["faces"],
    }


def _questions(annotator: Annotator, face: FaceToAsk) -> dict[str, float]:
    """The questions about one face, and about how many tokens they and their answers take."""
    longest = annotator.max_tokens or math.inf
    return {
        "faces": 1,
        "requests": len(face.requests),
        "input_tokens": sum(_input_tokens(payload(annotator, request, 1)) for request in face.requests),
        "output_tokens": sum(min(longest, _output_tokens(request.schema)) for request in face.requests),
    }


def _input_tokens(body: dict[str, Any]) -> float:
    form = body.get("response_format", {}).get("json_schema")
    tokens = len(json.dumps(form)) / CHARACTERS_PER_TOKEN if form else 0.0
    for turn in body["messages"]:
        content = turn["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            tokens += 4 + (_picture_tokens(part) if "image_url" in part else len(part["text"]) / CHARACTERS_PER_TOKEN)
    return tokens


def _picture_tokens(part: dict[str, Any]) -> float:
    from modeling_facemllm.image_loading_facemllm import open_image

    url = part["image_url"]["url"]
    if not url.startswith("data:"):
        return 1000.0
    with open_image(url) as image:
        return math.prod(math.ceil(side / PIXELS_PER_TOKEN) for side in image.size)


def _output_tokens(schema: dict[str, Any] | None) -> float:
    """Of an answer that follows the schema: its keys, its longest options, and a caption for each free string."""
    if schema is None:
        return CAPTION_TOKENS
    if "enum" in schema:
        return max(len(json.dumps(option)) for option in schema["enum"]) / CHARACTERS_PER_TOKEN
    if schema.get("type") == "object":
        entries = schema.get("properties", {}).items()
        return sum((len(name) + 6) / CHARACTERS_PER_TOKEN + _output_tokens(entry) for name, entry in entries)
    if schema.get("type") == "array":
        return 5 * _output_tokens(schema.get("items") or {"type": "number"})
    return CAPTION_TOKENS if schema.get("type") == "string" else 2.0
