"""An endpoint that fails in every way is asked until it answers, as gently as it wants, and no more often than needed.

A real server on loopback, in its own process, which counts what it was asked.
"""

import asyncio
import time
from collections import Counter
from email.utils import formatdate

import pytest

from datasets_scripts.annotator.annotate import annotate
from datasets_scripts.annotator.answers import read_answers
from datasets_scripts.annotator.endpoint import Endpoint, NoAnswer, retry_after
from datasets_scripts.annotator.settings import Annotator
from datasets_scripts.schema import CorpusError
from tests.datasets_scripts.annotator.faces import Faces, check
from tests.datasets_scripts.annotator.server import AnnotatorServer
from tests.refusals import refuses

KEY = "sk-secret-4711"


@pytest.fixture
def server(tmp_path):
    """Starts a server that misbehaves on demand, or another in its place."""
    started = []

    def start(misbehave="", **options):
        started.append(AnnotatorServer(tmp_path / f"server-{len(started)}.jsonl", misbehave, **options).__enter__())
        return started[-1]

    yield start
    for one in started:
        one.__exit__()


def ask(server, out, source=None, **settings):
    annotator = Annotator(server.url, "some/model", **{"timeout": 5.0, **settings})
    return annotate(source or Faces(), annotator, out, check=check, progress=False)


def whole_answers(server):
    return Counter(request["question"] for request in server.requests() if request["whole"])


@pytest.mark.parametrize("fault", ["429", "500", "hang", "truncated", "short", "close", "error200"])
def test_every_question_is_answered_once_by_an_endpoint_that_first_fails(server, tmp_path, fault):
    failing = server(f"{fault}:0.5")
    report = ask(failing, tmp_path / "out", timeout=1.0)
    assert (report["valid"], report["rejected"], report["invalid"]) == (9, {}, {})
    assert any(request["kind"] == fault for request in failing.requests())
    assert set(whole_answers(failing).values()) == {1}
    assert report["input_tokens"] == 9 * 1000 and report["output_tokens"] == 9 * 100


@pytest.mark.parametrize("wait", ["1.5", "date:2.5"])
def test_all_requests_wait_as_long_as_the_endpoint_asks(server, tmp_path, wait):
    busy = server("429:0.15", retry_after=wait)
    ask(busy, tmp_path / "out", Faces(each=20), concurrency=2)
    refused = [request["ended"] for request in busy.requests() if request["kind"] == "429"]
    began = [request["began"] for request in busy.requests()]
    assert refused
    for moment in refused:  # the other request in flight may have been sent in the same moment
        assert not [start for start in began if moment + 0.05 < start < moment + 1.4]


def test_retry_after_is_read_in_seconds_as_a_date_and_in_milliseconds():
    assert retry_after({"retry-after": "90"}) == 90
    assert retry_after({"retry-after": formatdate(time.time() + 300, usegmt=True)}) == pytest.approx(300, abs=2)
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert [retry_after(headers) for headers in ({}, {"retry-after": "soon"}, {"retry-after": "-3"})] == [0, 0, 0]


def test_an_endpoint_that_wants_hours_of_rest_ends_the_run(server, tmp_path):
    with pytest.raises(CorpusError, match=r"http://127\.0\.0\.1:\d+/v1\b.*\b2\.0 h\b.*HTTP 429"):
        ask(server("429:1", retry_after="7200"), tmp_path / "out")


def test_no_more_requests_are_in_flight_than_allowed(server, tmp_path):
    slow = server(latency=0.02)
    ask(slow, tmp_path / "out", Faces(each=40), concurrency=3)
    assert max(request["at_once"] for request in slow.requests()) == 3


@pytest.mark.parametrize(
    ("status", "argument", "value", "remedy"),
    [
        ("401", "api_key_env", "ANNOTATOR_KEY", "see the key"),
        ("403", "api_key_env", "ANNOTATOR_KEY", "see the key"),
        ("404", "model", "some/model", "see both"),
    ],
)
def test_a_wrong_key_or_model_ends_the_run_at_once(server, tmp_path, monkeypatch, status, argument, value, remedy):
    monkeypatch.setenv("ANNOTATOR_KEY", KEY)
    refusing = server(f"{status}:1", times=99)
    with refuses(argument, value, remedy, f"HTTP {status}", refusing.url):
        ask(refusing, tmp_path / "out", Faces(each=50), concurrency=4, api_key_env="ANNOTATOR_KEY")
    assert len(refusing.requests()) <= 4


def test_the_key_is_sent_and_stands_nowhere_else(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR_KEY", f"{KEY}\n")
    out = tmp_path / "out"
    assert ask(server(key=KEY), out, api_key_env="ANNOTATOR_KEY")["valid"] == 9
    with pytest.raises(CorpusError) as error:  # this server repeats the key in its message
        ask(server("401:1"), tmp_path / "refused", api_key_env="ANNOTATOR_KEY")
    written = [path for folder in (out, tmp_path / "refused") for path in folder.rglob("*") if path.is_file()]
    assert KEY not in str(error.value) and "***" in str(error.value)
    assert len(written) > 5 and not [path for path in written if KEY.encode() in path.read_bytes()]


def test_a_missing_key_is_named_before_anything_is_written(tmp_path):
    with refuses("api_key_env", "NO_SUCH_KEY", "environment variable"):
        annotate(Faces(), Annotator("http://127.0.0.1:9", "m", api_key_env="NO_SUCH_KEY"), tmp_path / "o", check=check)
    assert not (tmp_path / "o").exists()


def test_a_key_that_no_header_can_hold_is_named_without_being_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR_KEY", f"{KEY}\nexport OTHER=1")
    with pytest.raises(CorpusError, match=r"api_key_env='ANNOTATOR_KEY'.*environment variable") as error:
        annotate(Faces(), Annotator("http://h", "m", api_key_env="ANNOTATOR_KEY"), tmp_path / "o", check=check)
    assert KEY not in str(error.value)


def test_what_a_dead_endpoint_left_open_is_asked_of_its_successor(server, tmp_path):
    failing, source = server("500:0.4", times=99), Faces(each=60)
    with pytest.raises(CorpusError, match=r"\b\d+ requests\b.*HTTP 500\b.*a 500 for you.*run this again"):
        ask(server("500:1", times=99), tmp_path / "dead", source, max_retries=0)
    report = ask(failing, tmp_path / "out", source, max_retries=0, concurrency=8)
    refused = report["rejected"]["no answer (HTTP 500)"]  # single faces that never get an answer do not end it
    assert refused > 5 and report["valid"] + refused == report["faces"]
    dead = server("close:1", times=99)
    with pytest.raises(CorpusError, match=r"\b\d+ requests\b.*connection error\b.*run this again"):
        ask(dead, tmp_path / "other", source, max_retries=1)
    report = ask(server(), tmp_path / "other", source)
    assert (report["valid"], report["rejected"]) == (report["faces"], {})


def test_an_address_where_nobody_ever_answered_is_given_up_within_seconds(tmp_path, capsys):
    began = time.monotonic()
    with pytest.raises(CorpusError, match=r"http://127\.0\.0\.1:9/v1\b.*see the URL"):
        annotate(Faces(), Annotator("http://127.0.0.1:9", "m"), tmp_path / "out", check=check)
    assert 1 < time.monotonic() - began < 8
    assert "connection error" in capsys.readouterr().err


def test_an_endpoint_that_has_answered_is_waited_for_and_the_trouble_reported_at_once(tmp_path):
    reported = []
    ended = Endpoint(
        Annotator("http://127.0.0.1:9", "m", max_retries=4), 1, True, lambda: reported.append(ended.trouble)
    )

    async def ask_once():
        async with ended:
            await ended.make_request({"messages": []})

    with pytest.raises(NoAnswer):  # the request's own end, not the run's
        asyncio.run(ask_once())
    assert reported == ["connection error, trying again"] * 4


def test_a_request_that_is_refused_costs_its_face_alone(server, tmp_path):
    moderated = server("400:0.3", times=99)
    report = ask(moderated, tmp_path / "out", Faces(each=40))
    refused = report["rejected"]["refused by the endpoint (HTTP 400)"]
    assert refused > 3 and report["valid"] + refused == report["faces"] == 35
    assert len(moderated.requests()) == 35  # none was asked again
    rejected = [face for face in read_answers(tmp_path / "out").answers() if getattr(face, "rejected", None)]
    assert len(rejected) == refused and not any(face.answers for face in rejected)


def test_settings_that_are_refused_for_every_face_end_the_run(server, tmp_path):
    with pytest.raises(CorpusError, match=r"HTTP 400\b.*a 400 for you.*run this again"):
        ask(server("400:1", times=99), tmp_path / "out", Faces(each=200), concurrency=2)
    report = ask(server(), tmp_path / "out", Faces(each=200))  # and is mended on the server's side
    assert report["rejected"] == {}
