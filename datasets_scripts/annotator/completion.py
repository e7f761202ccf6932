"""A chat completion as an endpoint sends it: read with a bound, and every other shape told apart by a reason."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from datasets_scripts.engines.hiding import hide_encoded

from .settings import REFUSED, UNEXPECTED

MAX_ERROR_BODY = 2**16  # bytes of the body of an error: what follows is not read
MAX_TEXT = 1_000_000  # characters of an answer with its thoughts: a longer one is looked at no further
MAX_TOKENS_COUNTED = 10**12
SHOWN = 2000  # characters of an answer that cannot be read, of which the first are kept
MIN_KEY = 8  # characters of a key that is looked for in an answer's text: a shorter one may be a word


class UnexpectedAnswer(ValueError):
    """What an endpoint answered in place of a chat completion: a reason without a colon, and what of it is shown."""

    def __init__(self, reason: str, shown: str = ""):
        super().__init__(reason)
        self.reason, self.shown = reason, shown


class CutOff(ValueError):
    """A body that ends in the middle, or an error with the status of an answer: to be asked for again."""


def bounded_bodies(limit: int) -> Callable[[Any], Awaitable[None]]:
    """A response hook for httpx's client: bodies are read up to `limit` bytes.

    A longer one raises `UnexpectedAnswer` while it is read; of an error's body the beginning will do.
    """

    async def bound(response: Any) -> None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise UnexpectedAnswer("compressed answer, which was not asked for")
        response.encoding = "utf-8"  # as JSON is, whatever the header names
        kind = next(base for base in type(response.stream).__mro__ if base.__name__ == "AsyncByteStream")

        class Bounded(kind):  # of httpx or httpx2, as the client is
            def __init__(self, stream: Any):
                self._stream = stream

            async def __aiter__(self) -> AsyncIterator[bytes]:
                read = 0
                async for chunk in self._stream:
                    read += len(chunk)
                    if response.status_code >= 300 and read > MAX_ERROR_BODY:
                        return
                    if read > limit:
                        raise UnexpectedAnswer(f"answer of more than {_megabytes(limit)}")
                    yield chunk

            async def aclose(self) -> None:
                await self._stream.aclose()

        response.stream = Bounded(response.stream)

    return bound


def read_completion(body: str, key: str) -> dict[str, Any]:
    """`text`, `finish_reason` and `usage` of a chat completion; of its text, without the key or anything encoded.

    Raises:
        UnexpectedAnswer: for JSON of another shape, and what is no JSON.
        CutOff: for a body that ends in the middle, and for an error with the status of an answer.
    """
    try:
        answer = json.loads(body)
    except json.JSONDecodeError:
        if body.lstrip()[:1] in ("", "{") and not body.rstrip().endswith("}"):
            raise CutOff(f"the JSON ends at character {len(body):,}") from None
        raise UnexpectedAnswer("answer that is no JSON", body[:SHOWN]) from None
    except RecursionError:
        raise UnexpectedAnswer("JSON nested too deeply", body[:SHOWN]) from None
    except ValueError:  # Python's limit
        raise UnexpectedAnswer("a number of too many digits", body[:SHOWN]) from None
    if isinstance(answer, dict) and answer.get("error") and not answer.get("choices"):
        raise CutOff(f"no chat completion: {_short(answer['error'])}")
    try:
        text, finish_reason = _read_message(answer)
        usage = _read_usage(answer.get("usage"))
        if len(text) > MAX_TEXT:
            raise UnexpectedAnswer(f"longer than {MAX_TEXT:,} characters")
    except UnexpectedAnswer as error:
        raise UnexpectedAnswer(error.reason, body[:SHOWN]) from None
    text = text.replace(key, "***") if len(key) >= MIN_KEY else text
    return {"text": hide_encoded(text), "finish_reason": finish_reason, "usage": usage}


def _read_message(answer: Any) -> tuple[str, str]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise UnexpectedAnswer("no chat completion")
    finish_reason = choice.get("finish_reason") or "stop"
    if not isinstance(finish_reason, str) or len(finish_reason) > 60 or finish_reason in (REFUSED, UNEXPECTED):
        raise UnexpectedAnswer("finish_reason of another kind than the protocol's")
    refusal = message.get("refusal")
    if refusal:
        return _storable(refusal, "refusal"), "refusal"
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(map(_text_of_part, content))
    return _storable(content, "content"), finish_reason


def _text_of_part(part: Any) -> str:
    """The text of a part of the content; parts of other types, such as a model's thoughts, are none of the answer."""
    if not isinstance(part, dict):
        raise UnexpectedAnswer("content of another kind than the protocol's")
    if part.get("type", "text") not in ("text", "output_text"):
        return ""
    text = part.get("text")
    return _storable("" if text is None else text, "content")


def _storable(text: Any, field: str) -> str:
    """The text without halves of surrogate pairs, which are JSON, but neither UTF-8 nor storable."""
    if not isinstance(text, str):
        raise UnexpectedAnswer(f"{field} of another kind than the protocol's")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_usage(usage: Any) -> dict[str, int]:
    usage = {} if usage is None else usage
    if not isinstance(usage, dict):
        raise UnexpectedAnswer("usage of another kind than the protocol's")
    tokens = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
    tokens = {name: 0 if number is None else number for name, number in tokens.items()}
    for number in tokens.values():
        if type(number) not in (int, float) or not 0 <= number <= MAX_TOKENS_COUNTED:  # NaN is refused, too
            raise UnexpectedAnswer("usage of another kind than the protocol's")
    return {name: int(number) for name, number in tokens.items()}


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("message") or value.get("code") or "an error without a message"
    return str(value)[:SHOWN] if isinstance(value, str | int | float) else "an error of another shape"


def _megabytes(count: int) -> str:
    return f"{count / 2**20:g} MiB"
