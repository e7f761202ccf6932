"""What an annotator is asked and with which settings: a face's requests, where faces come from, and the model."""

import base64
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from datasets_scripts.schema import CorpusArgumentError, CorpusError, Skipped

STRUCTURED = ("json_schema", "json_object", "none")
REFUSED = "refused by the endpoint"  # an answer's finish_reason where the request itself was refused, at no cost
UNEXPECTED = "unexpected answer"  # its finish_reason where it is no chat completion; its text begins with the reason
MAX_BODY = 16 * 2**20


class InvalidAnswer(ValueError):
    """An annotator's answer that is not kept; `reason` is short and the same for all answers with that fault."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Request:
    """One question about one face.

    `name` is unique among the face's requests; `messages` are OpenAI chat messages, the picture in them as
    `picture_part` makes it; `schema` is the JSON schema of the answer, None where the answer is free text.
    """

    name: str
    messages: list[dict[str, Any]]
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class FaceToAsk:
    """A face and what is asked about it; `facts`, in JSON's types, come back with the answers. Pixels do not."""

    id: str
    requests: tuple[Request, ...]
    facts: dict[str, Any] = field(default_factory=dict)


class FaceSource(Protocol):
    """Where the faces come from, in parts that can be worked on at the same time. It must be picklable.

    A part is what is read again when a run goes on, and one task of the executor: a tar of ten thousand pictures, a
    few thousand rows of a label file.
    """

    def __len__(self) -> int:
        """The number of parts."""

    def faces(self, part: int) -> Iterator[FaceToAsk | Skipped]:
        """The faces of a part, or the reasons for none, streamed, with the same ids in the same order each time."""

    def describe(self) -> dict[str, Any]:
        """What the faces and the questions depend on, in JSON's types: files by content or size, rules, prompts."""


@dataclass(frozen=True)
class Annotator:
    """A model behind an OpenAI-compatible endpoint, and how it is asked.

    Args:
        endpoint: the endpoint's base URL, with or without `/v1`.
        model: the model's name there.
        prompt_version: names the wording of the prompts, for the record's `annotation`.
        api_key_env: the environment variable that holds the key; None for an endpoint without one. The key itself is
            never stored.
        concurrency: requests in flight at once, in all workers together.
        timeout: seconds until a request without a whole answer is given up and sent again.
        max_body: bytes of an answer's body that are read; a longer one is an invalid answer.
        max_retries: how often a request is sent again after 429, 5xx, timeouts and broken connections.
        attempts: how often a question is asked until its answer is valid.
        temperature: of the sampling; None leaves it to the endpoint.
        max_tokens: the longest answer; None leaves it to the endpoint.
        structured: how the endpoint is made to answer in JSON: by `json_schema`, by `json_object` (the schema
            is in the prompt then), or `none` (the same prompt, and no `response_format`).
        extra_body: further fields of the request, such as `{"chat_template_kwargs": {"enable_thinking": False}}`.
        date: ISO 8601, the day on which the annotation began; None for today.
        input_price: of a million tokens, in the endpoint's currency. Also `output_price`.
    """

    endpoint: str
    model: str
    prompt_version: str = "1"
    api_key_env: str | None = None
    concurrency: int = 8
    timeout: float = 120.0
    max_retries: int = 8
    max_body: int = MAX_BODY
    attempts: int = 3
    temperature: float | None = 0.2
    max_tokens: int | None = 1500
    structured: str = "json_schema"
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None
    input_price: float | None = None
    output_price: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "endpoint", base_url(self.endpoint))
        if not self.model:
            raise CorpusArgumentError("model", "", "name the model as the endpoint does (see its /v1/models)")
        if self.structured not in STRUCTURED:
            raise CorpusArgumentError("structured", self.structured, f"give one of {', '.join(STRUCTURED)}")
        least = {"concurrency": 1, "attempts": 1, "max_retries": 0, "max_body": 1, "max_tokens": 1, "timeout": 0.001}
        for name, low in {**least, "temperature": 0, "input_price": 0, "output_price": 0}.items():
            value = getattr(self, name)
            if value is not None and not low <= value < math.inf:  # NaN is refused, too
                raise CorpusArgumentError(name, value, f"give {low} or more")

    def api_key(self) -> str:
        """The key from the environment; `CorpusError` if there is none. Endpoints without keys ignore `none`."""
        if self.api_key_env is None:
            return "none"
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise CorpusArgumentError("api_key_env", self.api_key_env, "set this environment variable to the key")
        if not (key.isascii() and key.isprintable()) or " " in key:  # clients print a header that they cannot send
            raise CorpusArgumentError(
                "api_key_env", self.api_key_env, "this environment variable holds no key: set it to the key alone"
            )
        return key

    def answer_settings(self) -> dict[str, Any]:
        """What the answers depend on, in JSON's types: not how fast, how often and where the model is reached."""
        apart = {"endpoint", "api_key_env", "concurrency", "timeout", "max_retries", "max_body", "date"}
        apart |= {"input_price", "output_price"}
        return {name: value for name, value in asdict(self).items() if name not in apart}

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """What these tokens cost; None unless both prices are known."""
        if self.input_price is None or self.output_price is None:
            return None
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6


def base_url(endpoint: str) -> str:
    """The URL below which `/chat/completions` is: `/v1` is added to a bare host.

    Raises `CorpusError` for what is no URL, and for a URL with a password in it, which would be written down.
    """
    url = urlsplit(endpoint.strip())
    if url.scheme not in ("http", "https") or not url.hostname:
        raise CorpusArgumentError("endpoint", endpoint, "give a URL such as http://localhost:8000/v1")
    if url.username or url.password or url.query:
        place = f"{url.scheme}://{url.hostname}"
        raise CorpusArgumentError(
            "endpoint", place, "no key or password goes in the URL; name a variable that holds it"
        )
    path = url.path.rstrip("/").removesuffix("/chat/completions")
    return f"{url.scheme}://{url.netloc}{path or '/v1'}"


def share_of(limit: int | None, part: int, parts: int) -> int | None:
    """How many of `limit` faces are a part's, where they are spread evenly; None without a limit."""
    return None if limit is None else limit // parts + (part < limit % parts)


def picture_part(picture: bytes) -> dict[str, Any]:
    """The part of a message's content that shows a picture: the bytes of a JPEG, PNG or WebP file as a data: URL."""
    kinds = {b"\xff\xd8\xff": "jpeg", b"\x89PN": "png", b"RIF": "webp"}
    if picture[:3] not in kinds:
        raise CorpusError("this picture is no JPEG, PNG or WebP file: encode it as one for the annotator")
    text = base64.b64encode(picture).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/{kinds[picture[:3]]};base64,{text}"}}
