"""A server that speaks the OpenAI chat protocol and misbehaves on demand, in a process of its own.

    python tests/datasets_scripts/annotator/server.py --port 8000 --misbehave 429:0.1,hang:0.05 --log requests.jsonl

Its answers are valid and depend on nothing but the question: the picture's bytes, the request's words and its schema.
Which question meets which misbehaviour depends on the question and on `--seed`. Those of the wire misbehave the
first `--times` that they are asked, and then are answered; those of the model stay, like a model with a seed.
Every request is logged as a line: what was asked, what was done, and whether a whole answer went out.

Of the wire: `429` (with Retry-After), `500`, `400`, `401`, `403`, `404`, `hang` (longer than any
timeout), `truncated` (JSON that ends in the middle), `short` (fewer bytes than announced), `close` (no answer at
all), `error200` (an error with status 200). Of the model: `nojson` (prose), `wrong` (JSON, not of the schema),
`refusal`, `filter` (content_filter), `length` (cut off), `fenced` (valid, between fences).
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STATUSES = {"429": 429, "500": 500, "400": 400, "401": 401, "403": 403, "404": 404}
OF_THE_MODEL = ("nojson", "wrong", "refusal", "filter", "length", "fenced")


def answer_to(schema, seed):
    """A value that follows the JSON schema, always the same for the same seed."""
    chance = random.Random(seed)
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if schema.get("type") == "object":
        return {key: answer_to(entry, f"{seed}/{key}") for key, entry in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [answer_to(schema["items"], f"{seed}/{index}") for index in range(2)]
    if schema.get("type") in ("integer", "number"):
        return chance.randrange(10)
    if schema.get("type") == "boolean":
        return chance.random() < 0.5
    return f"A face in the light of a window, looking at the camera, number {chance.randrange(10**6)}."


@dataclass
class State:
    """What the server remembers: how often each question was asked, and the log."""

    misbehave: dict = field(default_factory=dict)  # kind: share of the questions that meet it
    times: int = 1
    latency: float = 0.0
    retry_after: str = "0.2"
    seed: int = 0
    key: str | None = None
    schema: dict | None = None
    log: object = None
    asked: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    in_flight: int = 0

    def plan(self, question):
        """What is done with this asking, and the number of the asking, from 1."""
        with self.lock:
            self.asked[question] += 1
            asking = self.asked[question]
        place, kind = random.Random(f"{self.seed}/{question}").random(), "answer"
        for name, share in self.misbehave.items():
            if 0 <= place < share:
                kind = name
                break
            place -= share
        return (kind if kind in OF_THE_MODEL or asking <= self.times else "answer"), asking

    def write(self, **line):
        with self.lock:
            self.log.write(json.dumps(line) + "\n")
            self.log.flush()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError):  # of a client that was killed
            super().handle()

    def do_GET(self):
        self.reply(200, {"object": "list", "data": [{"id": "annotator", "object": "model"}]})

    def do_POST(self):
        state, began = self.state, time.time()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not data:  # the client was killed before it had sent it
            self.close_connection = True
            return
        body = json.loads(data)
        with state.lock:
            state.in_flight += 1
            at_once = state.in_flight
        pictures, words = read_messages(body["messages"])
        question = hashlib.sha256("|".join([*pictures, *words, str(body.get("seed"))]).encode()).hexdigest()[:16]
        kind, asking = state.plan(question)
        if state.key is not None and self.headers.get("Authorization") != f"Bearer {state.key}":
            kind = "401"
        time.sleep(state.latency)
        whole = False
        try:
            whole = self.act(kind, body, question)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with state.lock:
                state.in_flight -= 1
            state.write(
                question=question,
                picture="".join(pictures)[:16],
                asking=asking,
                kind=kind,
                whole=whole,
                at_once=at_once,
                began=began,
                ended=time.time(),
                path=self.path,
                words=" ".join(words),
                body={name: value for name, value in body.items() if name != "messages"},
            )

    def act(self, kind, body, question):
        """Do it, and return whether a whole HTTP answer with content went out."""
        if kind == "hang":
            select.select([self.connection], [], [])  # until the client closes
            self.close_connection = True
            return False
        if kind == "close":
            self.close_connection = True
            self.connection.close()
            return False
        if kind in STATUSES:
            headers = {}
            if kind == "429":
                after = self.state.retry_after
                headers["Retry-After"] = (
                    formatdate(time.time() + float(after[5:]), usegmt=True) if after[:5] == "date:" else after
                )
            error = {
                "message": f"a {kind} for you, {self.headers.get('Authorization')}",
                "type": "error",
                "code": None,
            }
            self.reply(STATUSES[kind], {"error": error}, headers)
            return False
        content, finish, refusal = self.content(kind, body, question), "stop", None
        if kind == "refusal":
            content, refusal = None, "I cannot describe people."
        if kind in ("filter", "length"):
            finish = {"filter": "content_filter", "length": "length"}[kind]
        answer = {
            "id": question, "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": finish,
                         "message": {"role": "assistant", "content": content, "refusal": refusal}}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
        }  # fmt: skip
        if kind == "error200":
            answer = {"error": {"message": "upstream failed", "code": 502}}
        data = json.dumps(answer).encode()
        if kind == "truncated":
            data = data[: len(data) // 2]
        self.reply(200, data[: len(data) // 2] if kind == "short" else data, {"Content-Length": str(len(data))})
        self.close_connection = kind == "short"
        return kind not in ("truncated", "short", "error200")

    def content(self, kind, body, question):
        if kind == "nojson":
            return "This face is nice."
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema") or self.state.schema
        if kind == "wrong":
            return json.dumps({"nothing": "of the kind"})
        if schema is None:
            return f"A face that looks at the camera, number {int(question[:6], 16)}."
        text = json.dumps(answer_to(schema, question), ensure_ascii=False)
        if kind == "length":
            return text[: len(text) // 2]
        return f"Of course!\n```json\n{text}\n```\nI hope it helps." if kind == "fenced" else text

    def reply(self, status, data, headers=()):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        headers = {"Content-Length": str(len(data)), **dict(headers)}
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def read_messages(messages):
    """The hashes of the pictures, and the texts; a picture that is no data: URL with base64 is an error here."""
    import base64

    pictures, words = [], []
    for turn in messages:
        for part in (
            turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        ):
            if part["type"] == "text":
                words.append(part["text"])
            else:
                head, _, data = part["image_url"]["url"].partition(",")
                assert part["type"] == "image_url" and head.startswith("data:image/") and head.endswith(";base64")
                pictures.append(hashlib.sha256(base64.b64decode(data, validate=True)).hexdigest())
    return pictures, words


def serve(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0: any free one, which is printed")
    parser.add_argument("--misbehave", default="", help="KIND:SHARE,KIND:SHARE,... of the questions")
    parser.add_argument("--times", type=int, default=1, help="askings of such a question that misbehave")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--retry-after", default="0.2", help="of a 429: seconds, or date:SECONDS for an HTTP date")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", help="answer 401 to requests without this key")
    parser.add_argument("--schema", help="JSON schema of the answers where a request has none, as JSON")
    parser.add_argument("--log", default=os.devnull)
    given = parser.parse_args(arguments)
    shares = (pair.split(":") for pair in given.misbehave.split(",") if pair)
    state = State(
        {kind: float(share) for kind, share in shares}, given.times, given.latency, given.retry_after, given.seed,
        given.key, json.loads(given.schema) if given.schema else None,
        open(given.log, "a", encoding="utf-8"),  # noqa: SIM115
    )  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", given.port), type("Bound", (Handler,), {"state": state}))
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


class AnnotatorServer:
    """The server in a process of its own, as a context manager: `url`, and `requests()`, what it has logged."""

    def __init__(self, log, misbehave="", **options):
        self.log = Path(log)
        self.options = {"misbehave": misbehave, "log": log, **options}

    def __enter__(self):
        command = [sys.executable, __file__]
        for name, value in self.options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def requests(self):
        whole, _, _ = self.log.read_text(encoding="utf-8").rpartition("\n")  # a line may just be being written
        return [json.loads(line) for line in whole.splitlines()]


if __name__ == "__main__":
    serve()
