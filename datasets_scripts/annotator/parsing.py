"""What the endpoint is sent for a question, and what is read out of its answer."""

import json
import re
from typing import Any

from .settings import REFUSED, Annotator, InvalidAnswer, Request

RETRY_TEMPERATURE = 0.5  # at least, where an answer was invalid: a model that is sure of it would repeat it
_FENCE = re.compile(r"```[\w-]*\s*\n(.*?)```", re.DOTALL)
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


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

    Raises `InvalidAnswer` for an answer that was refused, cut off or empty, or that holds no JSON.
    """
    if finish_reason == REFUSED:
        raise InvalidAnswer(text.split(":")[0])
    if finish_reason in ("refusal", "content_filter"):
        raise InvalidAnswer("refused by the model")
    if finish_reason == "length":
        raise InvalidAnswer("cut off at max_tokens")
    text = _THOUGHTS.sub("", text).strip()
    if not text:
        raise InvalidAnswer("empty answer")
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
    """The JSON that the text is, or that is in it between fences or words: then the first object."""
    decoder = json.JSONDecoder(parse_constant=_no_number)
    for candidate in (text, *(match.strip() for match in _FENCE.findall(text))):
        found, value = _decode(decoder, candidate, whole=True)
        if found:
            return value
    for place in [match.start() for match in re.finditer(r"\{", text)][:100]:
        found, value = _decode(decoder, text[place:], whole=False)
        if found:
            return value
    raise InvalidAnswer("no JSON")


def _decode(decoder: json.JSONDecoder, text: str, whole: bool) -> tuple[bool, Any]:
    try:
        value = decoder.decode(text) if whole else decoder.raw_decode(text)[0]
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair may be escaped in it
    except (ValueError, RecursionError):
        return False, None
    return True, value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
