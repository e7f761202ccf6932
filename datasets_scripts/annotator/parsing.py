"""What the endpoint is sent for a question, and what is read out of its answer."""

import json
import re
from typing import Any

from .settings import REFUSED, UNEXPECTED, Annotator, InvalidAnswer, Request
from .thoughts import without_thoughts

RETRY_TEMPERATURE = 0.5  # at least, where an answer was invalid: a model that is sure of it would repeat it
MAX_CHARACTERS = 100_000  # of an answer without the thoughts: a longer one is looked at no further
MAX_TRIES = 100  # places where JSON is looked for among words
_LANGUAGE = re.compile(r"[\w-]{0,20}\s*")


def payload(annotator: Annotator, request: Request, attempt: int) -> dict[str, Any]:
    """The body of a chat completion; no two attempts at a question have the same, or the journal would answer."""
    body: dict[str, Any] = {"messages": request.messages}
    if annotator.max_tokens is not None:
        body["max_tokens"] = annotator.max_tokens
    if annotator.temperature is not None:
        body["temperature"] = annotator.temperature
    if attempt > 1:
        body["seed"] = attempt
        if annotator.temperature is not None:
            body["temperature"] = max(annotator.temperature, RETRY_TEMPERATURE)
    if request.schema is not None:
        body |= _structured(annotator.structured, request)
    return {**body, **annotator.extra_body}


def read_answer(request: Request, text: str, finish_reason: str) -> Any:
    """The parsed JSON of an answer to a request with a schema, else its text.

    What a reasoning model thought is taken off first.

    Raises:
        InvalidAnswer: for an answer that is no chat completion, was refused or cut off, is empty or too long, holds
            thoughts that cannot be told from it, or holds no JSON.
    """
    if finish_reason in (REFUSED, UNEXPECTED):
        raise InvalidAnswer(text.partition(":")[0])
    if finish_reason in ("refusal", "content_filter"):
        raise InvalidAnswer("refused by the model")
    if finish_reason == "length":
        raise InvalidAnswer("cut off at max_tokens")
    text = without_thoughts(text)
    if not text:
        raise InvalidAnswer("empty answer")
    if len(text) > MAX_CHARACTERS:
        raise InvalidAnswer(f"longer than {MAX_CHARACTERS:,} characters")
    return text if request.schema is None else _find_json(text)


def _structured(structured: str, request: Request) -> dict[str, Any]:
    if structured == "json_schema":
        form = {"name": re.sub(r"[^a-zA-Z0-9_-]", "_", request.name)[:64], "schema": request.schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    schema = json.dumps(request.schema, ensure_ascii=False)
    demand = f"Answer with one JSON object that follows this JSON schema, and with nothing else:\n{schema}"
    body: dict[str, Any] = {"messages": _with_text(request.messages, demand)}
    if structured == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _with_text(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """The messages with `text` at the end of the last one, which is the user's."""
    content = messages[-1]["content"]
    content = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [*messages[:-1], {**messages[-1], "content": [*content, {"type": "text", "text": text}]}]


def _find_json(text: str) -> Any:
    """The JSON that the text is, or the last that is in it, between fences or among words: drafts come first."""
    decoder = json.JSONDecoder(parse_constant=_no_number)
    for candidate in (text, *reversed(text.split("```")[1::2][-MAX_TRIES:])):
        found, value, _ = _decode(decoder, candidate, _LANGUAGE.match(candidate).end(), whole=True)
        if found:
            return value
    last, place = None, text.find("{")
    for _ in range(MAX_TRIES):
        if place < 0:
            break
        found, value, end = _decode(decoder, text, place, whole=False)
        last = (value,) if found and value else last
        place = text.find("{", end if found else place + 1)
    if last is None:
        raise InvalidAnswer("no JSON")
    return last[0]


def _decode(decoder: json.JSONDecoder, text: str, start: int, whole: bool) -> tuple[bool, Any, int]:
    """Whether there is JSON at `start` that can be stored, the value, and where it ends."""
    try:
        value, end = decoder.raw_decode(text, start)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # half a surrogate pair may be escaped in it
    except (ValueError, RecursionError):
        return False, None, start
    return not whole or not text[end:].strip(), value, end


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
