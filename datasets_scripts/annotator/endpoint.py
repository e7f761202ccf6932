"""One OpenAI-compatible endpoint, asked until it answers: what a dataset of a million paid answers needs of a client.

The `openai` client sends the requests, and the one retry loop is here, so that each failure gets its own treatment:

- 429, 5xx, timeouts, broken connections and unreadable bodies are tried again, later each time, and not before the
  endpoint's Retry-After has passed, which all requests in flight wait for;
- a wrong key, a wrong model or an empty account end the run, with nothing lost;
- 400 and its like concern one face, once the endpoint has answered for another.
"""

import asyncio
import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from datasets_scripts.schema import CorpusArgumentError, CorpusError

from .settings import REFUSED, Annotator

FIRST_DELAY, MAX_DELAY = 0.5, 60.0  # seconds between tries, doubled each time
MAX_RETRY_AFTER = 3600.0
UNREACHABLE_TRIES = 4  # about 3 s, until an address where nobody ever answered is given up


class NoAnswer(Exception):
    """One request that stays without an answer in this run; a run that begins anew asks it again."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Endpoint:
    """Where the requests are sent; to be used as an asynchronous context manager.

    `trouble` says what is being waited for, in words, and is empty where all is well; `on_trouble` is called when
    there is some. `known` says that this endpoint has answered before, so that it is waited for where it is gone.
    """

    def __init__(self, annotator: Annotator, concurrency: int, known: bool, on_trouble: Callable[[], None]):
        self._annotator = annotator
        self._most_failures = max(3, concurrency)
        self._failures = 0  # requests given up since the last answer
        self._answered = 0
        self._known, self._on_trouble = known, on_trouble
        self._not_before = 0.0  # by the event loop's clock
        self._end: Exception | None = None
        self.trouble = ""

    async def __aenter__(self) -> "Endpoint":
        from openai import AsyncOpenAI

        self._client = AsyncOpenAI(
            api_key=self._annotator.api_key(),
            base_url=self._annotator.endpoint,
            max_retries=0,
            timeout=self._annotator.timeout,
        )
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._client.close()

    async def make_request(self, payload: dict[str, Any]) -> dict[str, Any]:
        """POST the payload to `/chat/completions` and return `text`, `finish_reason` and `usage` of a whole answer.

        Raises `NoAnswer` for a request that is given up, `CorpusError` if the run is to end, and from then on again.
        """
        try:
            return await self._until_answered(payload)
        except Exception as error:  # datatrove logs the values in a traceback's lines, and the key is among them here
            raise error.with_traceback(None) from None

    async def _until_answered(self, payload: dict[str, Any]) -> dict[str, Any]:
        for tries in range(self._annotator.max_retries + 1):
            await self._until_allowed()
            if self._end is not None:
                raise self._end
            try:
                answer = await self._post(payload)
            except _Failure as failure:
                last = failure
                if tries == self._annotator.max_retries:
                    break
                if failure.unreachable and not (self._known or self._answered) and tries + 1 >= UNREACHABLE_TRIES:
                    remedy = "see the URL, and whether the server is up"
                    raise self._fatal(f"cannot be reached ({failure.detail}): {remedy}") from None
                self._report(f"{failure.what}, trying again")
                delay = min(MAX_DELAY, FIRST_DELAY * 2**tries) * random.uniform(0.5, 1.0)
                await asyncio.sleep(delay)
            else:
                self._answered += answer["finish_reason"] != REFUSED
                self._failures, self.trouble = 0, ""
                return answer
        raise self._given_up(last.what, last.detail)

    def end(self, error: Exception) -> None:
        """Send nothing any more: the run is about to end with this error."""
        self._end = self._end or error

    def _report(self, words: str) -> None:
        self.trouble = words
        self._on_trouble()

    async def _until_allowed(self) -> None:
        clock = asyncio.get_running_loop().time
        while (wait := self._not_before - clock()) > 0:
            self._report(f"the endpoint asks to wait {wait:.0f} s")
            await asyncio.sleep(wait + random.uniform(0, min(1.0, wait / 10)))  # or all would come back at once

    async def _post(self, payload: dict[str, Any]) -> dict[str, Any]:
        import openai

        body = {**payload, "model": self._annotator.model}
        try:
            async with asyncio.timeout(self._annotator.timeout):  # the client's own begins anew with every byte
                return _read_answer(await self._client.post("/chat/completions", cast_to=object, body=body))
        except openai.APIStatusError as error:
            answered = error  # handled outside, or tracebacks would show it; and it may repeat the key
        except (TimeoutError, openai.APITimeoutError):
            raise _Failure("timeout", f"no answer within {self._annotator.timeout:g} s") from None
        except openai.APIConnectionError as error:
            unreachable = type(error.__cause__).__name__ == "ConnectError"  # of httpx or httpx2, as the client is
            detail = str(error.__cause__) if unreachable else repr(error.__cause__ or error)
            raise _Failure("connection error", detail, unreachable) from None
        except ValueError as error:  # JSON that ends in the middle, or says something else than the protocol
            raise _Failure("unreadable answer", str(error)) from None
        status, detail = answered.status_code, self._message(answered)
        if status not in (408, 409, 425, 429) and status < 500:
            return self._refused(status, answered.code, detail)
        if answered.code == "insufficient_quota":
            raise self._fatal(f"says that the account's credit is used up (HTTP {status}): {detail}")
        self._retry_after(answered)
        raise _Failure(f"HTTP {status}", detail)

    def _refused(self, status: int, code: str | None, detail: str) -> dict[str, Any]:
        """The answer to a request that the endpoint would refuse again; `CorpusError` if it refuses any request."""
        if status in (401, 403) and not (status == 403 and self._answered):  # 403 may be a moderator's, too
            variable = self._annotator.api_key_env
            remedy = "see the key in this variable" if variable else "name the environment variable that holds a key"
            message = f"does not let us in (HTTP {status}): {remedy}. It says: {detail}"
            raise self._fatal(message, "api_key_env", variable)
        if status == 402:
            raise self._fatal(f"wants to be paid first (HTTP 402): {detail}")
        if status in (404, 405):
            message = f"knows no such model or address (HTTP {status}): see both. It says: {detail}"
            raise self._fatal(message, "model", self._annotator.model)
        what = f"{REFUSED} (HTTP {status}{f' {code}' if isinstance(code, str) else ''})"
        if not self._answered:  # as long as nothing was answered, it may be the settings that are refused
            raise self._given_up(what, detail)
        return {"text": f"{what}: {detail}", "finish_reason": REFUSED, "usage": {}}

    def _given_up(self, what: str, detail: str) -> Exception:
        self._failures += 1
        if self._failures < self._most_failures:
            return NoAnswer(what if what.startswith(REFUSED) else f"no answer ({what})")
        return self._fatal(
            f"left {self._failures} requests in a row without an answer, the last with {what}: {detail}. "
            "See to it and run this again"
        )

    def _fatal(self, message: str, *argument: str | None) -> Exception:
        """The error that ends the run; `argument` is the name and value of the one that the message is about."""
        message = f"the endpoint {self._annotator.endpoint} {message}; what was answered is kept"
        self.end(CorpusArgumentError(*argument, message) if argument else CorpusError(message))
        return self._end

    def _retry_after(self, error: Any) -> None:
        seconds = retry_after(error.response.headers)
        if seconds > MAX_RETRY_AFTER:
            raise self._fatal(f"asks to be left alone for {seconds / 3600:.1f} h (HTTP {error.status_code})")
        loop = asyncio.get_running_loop()
        self._not_before = max(self._not_before, loop.time() + seconds)

    def _message(self, error: Any) -> str:
        """What the endpoint says of its error, in one short line and without the key, should it repeat it."""
        body = error.body
        text = (body.get("message") if isinstance(body, dict) else body) or error.message
        text = " ".join(str(text).split()).replace(self._client.api_key, "***")
        return text if len(text) <= 200 else text[:197] + "..."


class _Failure(Exception):
    """A try that failed and may be repeated: `what` in countable words, `detail` in the endpoint's."""

    def __init__(self, what: str, detail: str, unreachable: bool = False):
        super().__init__(what, detail)
        self.what, self.detail, self.unreachable = what, detail, unreachable


def retry_after(headers: Any) -> float:
    """Seconds that the headers ask to wait: `Retry-After` in seconds or as a date, or `retry-after-ms`; else 0."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        text = headers.get("retry-after", "0")
        seconds = float(text) if text.strip()[:1].isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, seconds)


def _read_answer(answer: Any) -> dict[str, Any]:
    """What matters of an answer; ValueError for no chat completion."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    message = choices[0].get("message") if isinstance(choices, list) and choices else None
    if not isinstance(message, dict):
        raise ValueError(f"no chat completion: {str(answer)[:150]}")
    content, finish_reason = message.get("content") or "", choices[0].get("finish_reason") or "stop"
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    if message.get("refusal"):
        content, finish_reason = message["refusal"], "refusal"
    # halves of surrogate pairs are JSON, but neither UTF-8 nor storable
    content = str(content).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    usage = answer.get("usage") or {}
    tokens = {name: int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")}
    return {"text": content, "finish_reason": finish_reason, "usage": tokens}
