"""One OpenAI-compatible endpoint, asked until it answers: what a dataset of a million paid answers needs of a client.

The `openai` client sends the requests, and the one retry loop is here, so that each failure gets its own treatment:

- 429, 5xx, timeouts, broken connections and bodies that are cut off are tried again, later each time, and not before
  the endpoint's Retry-After has passed, which all requests in flight wait for;
- a wrong key, a wrong model or an empty account end the run, with nothing lost;
- 400 and its like concern one face, once the endpoint has answered for another;
- an answer that is no chat completion is an answer like any other: kept, and invalid (`completion.py`);
- a redirect is not followed: it would carry a photograph and a key to somebody else.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from datasets_scripts.engines.hiding import hide_values
from datasets_scripts.schema import CorpusArgumentError, CorpusError

from .completion import CutOff, UnexpectedAnswer, bounded_bodies, read_completion
from .settings import REFUSED, UNEXPECTED, Annotator

FIRST_DELAY, MAX_DELAY = 0.5, 60.0  # seconds between tries, doubled each time
MAX_RETRY_AFTER = 3600.0
MAX_WORDS = 10_000  # characters of an error that are looked at
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
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        try:
            transport = DefaultAsyncHttpxClient(
                follow_redirects=False,
                headers={"Accept-Encoding": "identity"},  # a compressed body has no bound before it is unpacked
                event_hooks={"response": [bounded_bodies(self._annotator.max_body)]},
            )
        except Exception as error:  # of whatever kind: the proxies of the environment are what is read there
            remedy = "see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"
            raise CorpusError(
                f"the environment's proxies cannot be used ({hide_values(str(error))}): {remedy}"
            ) from None
        self._client = AsyncOpenAI(
            api_key=self._annotator.api_key(),
            base_url=self._annotator.endpoint,
            max_retries=0,
            timeout=self._annotator.timeout,
            http_client=transport,
        )
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._client.close()

    async def make_request(self, payload: dict[str, Any]) -> dict[str, Any]:
        """POST the payload to `/chat/completions` and return `text`, `finish_reason` and `usage` of a whole answer.

        An answer that is no chat completion has the finish_reason `UNEXPECTED`, and its text begins with the reason.

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
                self._answered += answer["finish_reason"] not in (REFUSED, UNEXPECTED)
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
                text = await self._client.post("/chat/completions", cast_to=str, body=body)
            return read_completion(text, self._client.api_key if self._annotator.api_key_env else "")
        except openai.APIStatusError as error:
            answered = error  # handled outside, or tracebacks would show it; and it may repeat the key
        except (TimeoutError, openai.APITimeoutError):
            raise _Failure("timeout", f"no answer within {self._annotator.timeout:g} s") from None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, UnexpectedAnswer):  # as some versions of the client have it
                return self._unexpected(error.__cause__)
            unreachable = type(error.__cause__).__name__ == "ConnectError"  # of httpx or httpx2, as the client is
            detail = str(error.__cause__) if unreachable else repr(error.__cause__ or error)
            raise _Failure("connection error", self._shown(detail), unreachable) from None
        except CutOff as error:
            raise _Failure("unreadable answer", self._shown(error)) from None
        except UnexpectedAnswer as error:
            return self._unexpected(error)
        except Exception as error:  # the client's own, on an error that it cannot read
            raise _Failure("unreadable answer", type(error).__name__) from None
        status, detail = answered.status_code, self._message(answered)
        if status < 400:
            return self._redirected(status, answered.response.headers.get("location", ""))
        if status not in (408, 409, 425, 429) and status < 500:
            return self._refused(status, answered.code, detail)
        if answered.code == "insufficient_quota":
            raise self._fatal(f"says that the account's credit is used up (HTTP {status}): {detail}")
        self._retry_after(answered)
        raise _Failure(f"HTTP {status}", detail)

    def _unexpected(self, error: UnexpectedAnswer) -> dict[str, Any]:
        text = f"{error.reason}: {self._shown(error.shown)}" if error.shown else error.reason
        return {"text": text, "finish_reason": UNEXPECTED, "usage": {}}

    def _redirected(self, status: int, location: str) -> dict[str, Any]:
        """What is kept of an answer that names another address; `CorpusError` where nothing was answered before."""
        try:
            place = urlsplit(location)
            elsewhere = f"{place.scheme}://{place.hostname}" if place.hostname else "another path"
        except ValueError:
            elsewhere = "what is no address"
        if not (self._known or self._answered):
            remedy = "it was not followed, for the photographs and the key would go there; give the address itself"
            message = f"sends us to {elsewhere} (HTTP {status}): {remedy}"
            raise self._fatal(message, "endpoint", self._annotator.endpoint)
        return {"text": f"redirected (HTTP {status}): to {elsewhere}", "finish_reason": UNEXPECTED, "usage": {}}

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
        named = isinstance(code, str) and re.fullmatch(r"[\w.-]{1,40}", code) and code != self._client.api_key
        what = f"{REFUSED} (HTTP {status}{f' {code}' if named else ''})"
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
        words = error.body.get("message") if isinstance(error.body, dict) else error.body
        return self._shown(words if words and isinstance(words, str) else error.message)

    def _shown(self, words: Any) -> str:
        """The endpoint's words in one line of 200 characters, without what was sent to it."""
        text = hide_values(str(words)[:MAX_WORDS], self._client.api_key if self._annotator.api_key_env else "")
        text = " ".join(text.split())
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
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, seconds)
