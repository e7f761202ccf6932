"""Whatever an endpoint answers, the run ends, counts it, and writes down nothing of what was sent or is secret.

Real servers on loopback, which answer what a test gives them, and echo the photographs that they were sent.
"""

import base64
import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from datasets_scripts.annotator.annotate import annotate
from datasets_scripts.annotator.answers import read_answers
from datasets_scripts.annotator.settings import Annotator
from datasets_scripts.schema import CorpusArgumentError, CorpusError
from tests.datasets_scripts.annotator.faces import PIXELS, Faces, check

KEY, PASSWORD = "sk-secret-4711", "hunter2-of-the-proxy"
GOOD = json.dumps({"caption": "A face in the light of a window.", "glasses": "none"})
USAGE = "usage of another kind than the protocol's"
CONTENT = "content of another kind than the protocol's"
FINISH = "finish_reason of another kind than the protocol's"


def completion(content=GOOD, **changed):
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {}, **changed}


@pytest.fixture
def serve():
    """Starts a server: `answer(request's body)` gives a body, or a status, headers and a body. It counts requests."""
    started = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                server.asked.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                given = answer(server.asked[-1][1].decode())
                status, headers, body = given if isinstance(given, tuple) else (200, {}, given)
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {
                    "Content-Length": len(body),
                    "Content-Type": "application/json",
                    **headers,
                }.items():
                    self.send_header(name, str(value))
                self.end_headers()
                with contextlib.suppress(OSError):  # the client has read enough
                    self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.asked = True, []
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def ask(server, out, faces=3, **settings):
    annotator = Annotator(server.url, "some/model", **{"attempts": 2, "max_retries": 0, "timeout": 10.0, **settings})
    return annotate(Faces(each=faces), annotator, out, check=check, progress=False)


def assert_nothing_sent_is_in(folder, *secrets):
    pixels = [base64.b64encode(PIXELS)[start : start + 64] for start in range(0, 1024, 64)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert not [form for form in pixels if form in content], path
        assert not [secret for secret in secrets if secret.encode() in content], path


ECHO = {"choices": [{"message": {"content": "ECHO"}}]}
SHAPES = {
    "usage is a list": (completion(usage=[1, 2]), USAGE),
    "usage is text": (completion(usage={"prompt_tokens": "many"}), USAGE),
    "usage is beyond float": (json.dumps(completion(usage={"prompt_tokens": 0})).replace("0}", "1e999}"), USAGE),
    "usage is no number": (json.dumps(completion(usage={"prompt_tokens": 0})).replace("0}", "NaN}"), USAGE),
    "usage of 5,000 digits": (
        json.dumps(completion(usage={"prompt_tokens": 0})).replace("0}", "9" * 5000 + "}"),
        "a number of too many digits",
    ),
    "choice is null": ({"choices": [None]}, "no chat completion"),
    "choices is a number": ({"choices": 7}, "no chat completion"),
    "no choice": ({"choices": []}, "no chat completion"),
    "message is a list": ({"choices": [{"message": ["ECHO"]}]}, "no chat completion"),
    "a list": (["ECHO"], "no chat completion"),
    "content has a number": (completion([{"text": 5}]), CONTENT),
    "content has a null": (completion([None]), CONTENT),
    "content is an object": (completion({"text": "ECHO"}), CONTENT),
    "content is a number": (completion(5), CONTENT),
    "refusal is a list": (
        {"choices": [{"message": {"content": None, "refusal": ["no"]}}]},
        "refusal of another kind than the protocol's",
    ),
    "finish_reason is a list": ({"choices": [{"message": {"content": GOOD}, "finish_reason": [1]}]}, FINISH),
    "finish_reason is one of ours": (
        {"choices": [{"message": {"content": "ECHO: 7"}, "finish_reason": "refused by the endpoint"}]},
        FINISH,
    ),
    "100,000 levels": ("[" * 100_000 + "]" * 100_000, "JSON nested too deeply"),
    "100,000 levels of usage": (
        json.dumps(completion(usage="DEEP")).replace('"DEEP"', '{"a":' * 100_000 + "1" + "}" * 100_000),
        "JSON nested too deeply",
    ),
    "a page": ("<html>ECHO</html>", "answer that is no JSON"),
    "an echo": (ECHO, "not of the schema"),
}


@pytest.mark.parametrize(("shape", "reason"), SHAPES.values(), ids=SHAPES)
def test_an_answer_of_any_shape_is_invalid_is_kept_and_never_shows_what_was_sent(serve, tmp_path, shape, reason):
    text = shape if isinstance(shape, str) else json.dumps(shape)
    server = serve(lambda body: text.replace("ECHO", json.dumps(body)[1:-1]).encode())
    report = ask(server, tmp_path)
    assert (report["faces"], report["valid"]) == (3, 0)
    assert (report["rejected"], report["invalid"]) == ({reason: 3}, {reason: 6})
    assert ask(server, tmp_path)["invalid"] == {reason: 6} and len(server.asked) == 6
    assert_nothing_sent_is_in(tmp_path)


@pytest.mark.parametrize("between", [" ", "\n", '", "'])
@pytest.mark.parametrize("length", [40, 50, 76])
def test_a_photograph_that_comes_back_in_pieces_is_kept_nowhere(serve, tmp_path, length, between):
    def echo(body):
        sent = body[body.index(";base64,") + 8 :]
        return completion(between.join(sent[start : start + length] for start in range(0, 1400, length)))

    assert ask(serve(echo), tmp_path)["valid"] == 0
    kept = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    pixels = base64.b64encode(PIXELS).decode()
    assert not [start for start in range(len(pixels) - 24) if pixels[start : start + 24] in kept]


def test_an_unexpected_answer_is_kept_over_a_kill(serve, tmp_path):
    server = serve(lambda body: {"choices": [None], "echo": body})
    with pytest.raises(KeyboardInterrupt):
        annotate(Interrupted(each=9), settings_of(server), tmp_path, check=check, progress=False)
    asked = len(server.asked)
    assert (tmp_path / "journal/00000.jsonl").stat().st_size
    assert_nothing_sent_is_in(tmp_path)
    report = annotate(Faces(each=9), settings_of(server), tmp_path, check=check, progress=False)
    assert report["invalid"] == {"no chat completion": 8} and len(server.asked) <= 8 + 1 and asked > 2


def settings_of(server):
    return Annotator(server.url, "some/model", concurrency=1, attempts=1, max_retries=0)


class Interrupted(Faces):
    def faces(self, part):
        for row, face in enumerate(super().faces(part)):
            if row == 6:
                raise KeyboardInterrupt
            yield face


@pytest.mark.parametrize(
    "content", [GOOD, [{"type": "text", "text": GOOD}], [{"type": "thinking", "text": "{}"}, {"text": GOOD}]]
)
@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 3.0, "completion_tokens": None, "cost": [1]}])
def test_what_the_protocol_leaves_open_is_no_fault(serve, tmp_path, content, usage):
    report = ask(serve(lambda _: completion(content, usage=usage)), tmp_path)
    assert (report["valid"], report["invalid"]) == (3, {})
    assert report["input_tokens"] == (9 if usage else 0)


def test_a_key_that_is_repeated_in_an_answer_stands_nowhere(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR_KEY", KEY)
    report = ask(serve(lambda _: completion(f"Your key is {KEY}.")), tmp_path, api_key_env="ANNOTATOR_KEY")
    assert report["invalid"] == {"no JSON": 6}
    assert_nothing_sent_is_in(tmp_path, KEY)


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "ECHO", "code": "ECHO"}},
        {"error": {"message": ["ECHO"], "code": ["ECHO"]}},
        {"error": ["ECHO"]},
        {"message": {"a": "ECHO"}},
        ["ECHO"],
        "[" * 100_000,
        "ECHO",
    ],
)
def test_an_error_never_shows_what_was_sent(serve, tmp_path, monkeypatch, status, error):
    monkeypatch.setenv("ANNOTATOR_KEY", KEY)
    text = error if isinstance(error, str) else json.dumps(error)
    server = serve(lambda body: (status, {}, text.replace("ECHO", f"{KEY} {json.dumps(body)[1:-1]}").encode()))
    with pytest.raises(CorpusError) as raised:
        ask(server, tmp_path, faces=30, api_key_env="ANNOTATOR_KEY")
    assert f"HTTP {status}" in str(raised.value) and len(str(raised.value)) < 600
    assert KEY not in str(raised.value) and base64.b64encode(PIXELS)[:40].decode() not in str(raised.value)
    assert_nothing_sent_is_in(tmp_path, KEY)


@pytest.mark.parametrize("status", [200, 500])
def test_a_body_is_read_up_to_the_limit_and_no_further(serve, tmp_path, status):
    began = time.monotonic()
    server = serve(lambda _: (status, {"Content-Length": 10**9}, b" " * 2**23))
    if status == 200:
        report = ask(server, tmp_path, max_body=2**20)
        assert report["invalid"] == {"answer of more than 1 MiB": 6} == ask(server, tmp_path)["invalid"]
    else:
        with pytest.raises(CorpusError, match="HTTP 500"):
            ask(server, tmp_path, faces=30)
    assert time.monotonic() - began < 8


def test_a_compressed_body_is_not_unpacked(serve, tmp_path):
    import zlib

    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b" " * 2**24) + packer.flush()
    report = ask(serve(lambda _: (200, {"Content-Encoding": "gzip"}, packed)), tmp_path)
    assert report["invalid"] == {"compressed answer, which was not asked for": 6}


@pytest.mark.parametrize("charset", ["zlib_codec", "hex", "utf-16", "nonsense"])
def test_a_body_is_utf_8_whatever_its_header_says(serve, tmp_path, charset):
    server = serve(lambda _: (200, {"Content-Type": f"application/json; charset={charset}"}, completion()))
    assert ask(server, tmp_path)["valid"] == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(serve, tmp_path, monkeypatch, status):
    monkeypatch.setenv("ANNOTATOR_KEY", KEY)
    other = serve(lambda _: completion())
    server = serve(lambda _: (status, {"Location": f"{other.url}/v1/chat/completions?token=x"}, {}))
    with pytest.raises(CorpusArgumentError, match=f"HTTP {status}") as raised:
        ask(server, tmp_path / "first", api_key_env="ANNOTATOR_KEY")
    assert raised.value.argument == "endpoint" and other.asked == []
    answers = iter([completion()])
    moved = serve(lambda _: next(answers, (status, {"Location": f"{other.url}/v1"}, {})))
    report = ask(moved, tmp_path / "later", concurrency=1)
    assert (report["valid"], report["rejected"]) == (1, {f"redirected (HTTP {status})": 2})
    assert other.asked == []


@pytest.mark.parametrize(
    "proxy", ["socks9://me:{}@127.0.0.1:9", "http://me:{}@127.0.0.1:9", "me:{}@[", "http://me:{}@127.0.0.1:x"]
)
def test_a_proxys_password_stands_nowhere(tmp_path, monkeypatch, proxy):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.format(PASSWORD))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    annotator = Annotator("http://annotator.invalid", "m", max_retries=0)
    with pytest.raises(CorpusError) as raised:
        annotate(Faces(each=30), annotator, tmp_path, check=check, progress=False)
    assert PASSWORD not in str(raised.value)
    assert_nothing_sent_is_in(tmp_path, PASSWORD)


def test_a_fault_of_our_own_shows_no_photograph_in_the_log(serve, tmp_path):
    def broken_check(name, answer):
        raise LookupError("of the check")

    server = serve(lambda _: completion())
    with pytest.raises(CorpusError, match="LookupError: of the check"):
        annotate(Faces(each=3), Annotator(server.url, "m"), tmp_path, check=broken_check, progress=False)
    log = (tmp_path / "tasks/logs/task_00000.log").read_text()
    assert "LookupError: of the check" in log and "broken_check" in log
    assert_nothing_sent_is_in(tmp_path)


def test_the_answers_that_can_be_kept_are_kept_beside_the_others(serve, tmp_path):
    answers = iter([{"choices": [None]}, completion(), completion(usage=[1, 2]), completion(), completion()])
    report = ask(serve(lambda _: next(answers)), tmp_path, concurrency=1, attempts=3)
    assert (report["valid"], report["rejected"]) == (3, {})
    assert report["invalid"] == {"no chat completion": 1, USAGE: 1} and report["requests"] == 5
    assert [face.answers["table"]["glasses"] for face in read_answers(tmp_path).answers()] == ["none"] * 3
