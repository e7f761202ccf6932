"""What was asked of whom, what is kept of the answers, and what a run costs; against a real server on loopback."""

import asyncio
import base64
import json
import math
import os
import time

import pytest
from PIL import Image

from datasets_scripts.annotator.annotate import annotate
from datasets_scripts.annotator.answers import read_answers
from datasets_scripts.annotator.estimate import estimate
from datasets_scripts.annotator.runner import AnswerJournal
from datasets_scripts.annotator.settings import Annotator, FaceToAsk, Request, picture_part
from datasets_scripts.files import Journal
from datasets_scripts.schema import CorpusError, Skipped
from tests.datasets_scripts.annotator.faces import PIXELS, SCHEMA, Faces, check, jpeg, user
from tests.datasets_scripts.annotator.server import AnnotatorServer, answer_to
from tests.full_disk import files_of_at_most
from tests.refusals import refuses


@pytest.fixture
def server(tmp_path):
    with AnnotatorServer(tmp_path / "server.jsonl") as started:
        yield started


@pytest.fixture
def stubborn(tmp_path):
    """A server whose model does the same thing at every question."""
    started = []

    def start(fault, **options):
        log = tmp_path / f"{fault}-{len(started)}.jsonl"
        started.append(AnnotatorServer(log, f"{fault}:1", **options).__enter__())
        return started[-1]

    yield start
    for one in started:
        one.__exit__()


def ask(server, out, source=None, limit=None, **settings):
    annotator = Annotator(server.url, "some/model", **settings)
    return annotate(source or Faces(), annotator, out, check=check, progress=False, limit=limit)


def journalled(out):
    return sum(1 for line in (out / "journal/00000.jsonl").open("rb") if line.endswith(b"\n"))


def test_answers_come_back_with_their_faces_in_the_order_of_the_source(server, tmp_path):
    source = Faces(parts=3, each=20, questions=("What is the light like?",))
    report = ask(server, tmp_path / "out", source)
    answered = read_answers(tmp_path / "out")
    rows = list(answered.answers())
    expected = [face for part in range(3) for face in source.faces(part)]
    assert [row.id for row in rows] == [face.id for face in expected] and len(answered) == 60
    for row, face in zip(rows, expected, strict=True):
        if isinstance(face, Skipped):
            assert row == face
            continue
        assert row.facts == face.facts and set(row.answers["table"]) == set(SCHEMA["properties"])
        assert row.answers["What is the light like?"].startswith("A face that")
        assert row.usage == {"requests": 2, "input_tokens": 2000, "output_tokens": 200}
    assert report["faces"] == 54 and report["valid"] == 108 and report["skipped"] == {"no face": 6}
    assert list(answered.answers(13, 45)) == rows[13:45]


def test_a_complete_run_is_not_asked_again(server, tmp_path):
    first = ask(server, tmp_path / "out", input_price=2.0, output_price=10.0)
    again = ask(server, tmp_path / "out", input_price=2.0, output_price=10.0)
    assert len(server.requests()) == 9
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert first["cost"] == pytest.approx((9 * 1000 * 2.0 + 9 * 100 * 10.0) / 1e6)


def test_a_part_that_was_whole_when_it_was_killed_is_not_asked_again(server, tmp_path):
    ask(server, tmp_path)
    (tmp_path / "tasks" / "completions" / "00000").unlink()  # the last of all, after the journal
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "00000.jsonl").touch()
    ask(server, tmp_path)
    assert len(server.requests()) == 9 and not (tmp_path / "journal").exists()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nojson", "no JSON"),
        ("wrong", "not of the schema"),
        ("refusal", "refused by the model"),
        ("filter", "refused by the model"),
        ("length", "cut off at max_tokens"),
    ],
)
def test_an_invalid_answer_is_asked_for_again_then_kept_apart_with_its_reason(stubborn, tmp_path, fault, reason):
    server = stubborn(fault)
    report = ask(server, tmp_path / "out", Faces(each=3), attempts=2, temperature=0.0)
    assert (report["valid"], report["rejected"], report["invalid"]) == (0, {reason: 3}, {reason: 6})
    assert report["input_tokens"] == 6000  # rejected answers are paid, too
    face = next(read_answers(tmp_path / "out").answers())
    assert (face.answers, face.rejected) == ({}, {"table": reason})
    asked = [(request["body"].get("seed"), request["body"]["temperature"]) for request in server.requests()]
    assert sorted(asked, key=str) == [(2, 0.5)] * 3 + [(None, 0.0)] * 3


def test_a_valid_answer_at_a_later_attempt_counts(tmp_path):
    with AnnotatorServer(tmp_path / "log.jsonl", "wrong:0.5") as server:
        report = ask(server, tmp_path / "out", Faces(each=30), attempts=9)
    assert report["rejected"] == {} and report["valid"] == 26
    assert report["requests"] == 26 + report["invalid"]["not of the schema"] > 30


def test_pictures_are_sent_and_never_stored(server, tmp_path):
    with pytest.raises(KeyboardInterrupt):  # so that a journal is left, too
        one_at_a_time = Annotator(server.url, "m", concurrency=1)
        annotate(Interrupted(each=10), one_at_a_time, tmp_path / "out", check=check, progress=False)
    assert journalled(tmp_path / "out") > 3
    ask(server, tmp_path / "done")
    pixels = (PIXELS, base64.b64encode(PIXELS)[8:200], repr(PIXELS)[8:200].encode())
    for path in (*(tmp_path / "out").rglob("*"), *(tmp_path / "done").rglob("*")):
        assert not path.is_file() or not any(form in path.read_bytes() for form in pixels), path


def test_answers_in_the_journal_of_an_earlier_version_are_named_and_left_alone(server, tmp_path):
    journal = tmp_path / "out/journal/00000/replay.sqlite3"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"paid for")
    with pytest.raises(CorpusError, match=r"out/journal\b.*finish it with that version, or delete"):
        ask(server, tmp_path / "out")
    assert journal.read_bytes() == b"paid for" and server.requests() == []


def test_a_damaged_line_of_the_journal_is_named_and_asked_again_once_it_is_gone(server, tmp_path):
    journal = tmp_path / "journal/00000.jsonl"
    journal.parent.mkdir()
    journal.write_text("\0\0\n")
    with pytest.raises(CorpusError, match=r"journal/00000\.jsonl, line 1\b.*remove this line"):
        ask(server, tmp_path)
    journal.write_text("")
    assert ask(server, tmp_path)["valid"] == 9


def test_a_run_that_goes_on_asks_only_what_is_not_in_the_journal(server, tmp_path):
    again = (
        "Describe this face.",
        "What is the light like?",
    )  # the first in the table's words
    with pytest.raises(KeyboardInterrupt):
        ask(server, tmp_path / "out", Interrupted(questions=again), concurrency=1)
    kept, asked = journalled(tmp_path / "out"), len(server.requests())
    report = ask(server, tmp_path / "out", Faces(questions=again), concurrency=3)
    assert 9 < kept <= asked and len(server.requests()) - asked == 27 - kept
    assert report["requests"] == report["valid"] == 27
    ask(server, tmp_path / "undisturbed", Faces(questions=again))
    answers = (list(read_answers(tmp_path / name).answers()) for name in ("out", "undisturbed"))
    assert next(answers) == next(answers)


class Interrupted(Faces):
    """Ctrl-C while the last face is read."""

    def faces(self, part):
        for face in super().faces(part):
            if face.id.endswith("/9"):
                raise KeyboardInterrupt
            yield face


def test_json_schema_is_enforced_by_the_endpoint(server, tmp_path):
    ask(server, tmp_path / "out", Faces(each=1), max_tokens=77, extra_body={"chat_template_kwargs": {"a": False}})
    body = server.requests()[0]["body"]
    assert body["response_format"]["json_schema"] == {"name": "table", "schema": SCHEMA, "strict": True}
    assert (body["model"], body["max_tokens"], body["chat_template_kwargs"]) == ("some/model", 77, {"a": False})
    assert server.requests()[0]["path"] == "/v1/chat/completions"


@pytest.mark.parametrize(("structured", "form"), [("json_object", {"type": "json_object"}), ("none", None)])
def test_without_json_schema_the_prompt_names_it_and_json_is_dug_out(stubborn, tmp_path, structured, form):
    server = stubborn("fenced", schema=json.dumps(SCHEMA))
    report = ask(server, tmp_path / "out", Faces(each=3), structured=structured)
    assert report["valid"] == 3 and report["invalid"] == {}
    request = server.requests()[0]
    assert request["body"].get("response_format") == form and json.dumps(SCHEMA) in request["words"]


def test_other_settings_are_refused_by_name_and_the_first_day_is_kept(server, tmp_path):
    out = tmp_path / "out"
    ask(server, out, date="2026-01-31")
    with pytest.raises(CorpusError, match=r"annotator\.temperature: 0\.2\b.*0\.7\b.*another folder"):
        ask(server, out, temperature=0.7)
    with pytest.raises(CorpusError, match=r"source\.version: 1\b.* 2\b.*another folder"):
        ask(server, out, Faces(version="2"))
    with pytest.raises(CorpusError, match=r"limit: None\b.* 3\b.*another folder"):
        ask(server, out, limit=3)
    assert ask(server, out, concurrency=3, timeout=9.0)["date"] == "2026-01-31"
    described = read_answers(out).describe()
    assert (described["annotator"], described["date"], described["prompt_version"]) == (
        "some/model",
        "2026-01-31",
        "1",
    )


@pytest.mark.parametrize("keep", [100, -1, 0])
def test_a_cut_file_of_answers_is_named_and_its_part_alone_is_asked_again(server, tmp_path, keep):
    ask(server, tmp_path / "out", Faces(parts=2))
    cut = tmp_path / "out/answers/00001.jsonl"
    whole = cut.read_bytes()
    cut.write_bytes(b"".join(whole.splitlines(True)[:-1]) if keep == -1 else whole[:keep])
    with pytest.raises(CorpusError, match=r"answers/00001\.jsonl\b.*line \d+\b.*delete this file"):
        list(read_answers(tmp_path / "out").answers())
    cut.unlink()
    ask(server, tmp_path / "out", Faces(parts=2))
    assert cut.read_bytes() == whole and len(server.requests()) == 18 + 9


def test_a_damaged_count_names_the_answers_to_delete(server, tmp_path):
    ask(server, tmp_path / "out")
    (tmp_path / "out/counts/00000.json").write_text("{")
    with pytest.raises(CorpusError, match=r"counts/00000\.json\b.*delete .*answers/00000\.jsonl"):
        ask(server, tmp_path / "out")
    (tmp_path / "out/answers/00000.jsonl").unlink()
    assert ask(server, tmp_path / "out")["valid"] == 9


def test_answers_of_an_unfinished_run_are_not_read(server, tmp_path):
    with pytest.raises(CorpusError, match=rf"{tmp_path}\b.*plan\.json"):
        read_answers(tmp_path)
    ask(server, tmp_path, Faces(parts=3))
    (tmp_path / "answers" / "00001.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"\b1 of 3 parts\b.*part 1\b.*again"):
        read_answers(tmp_path)
    ask(server, tmp_path, Faces(parts=3))  # only that part again
    assert len(server.requests()) == 4 * 9


def test_a_full_disk_ends_the_run_and_loses_no_answer(server, tmp_path):
    source = Faces(each=400)
    full = pytest.raises((OSError, CorpusError), match=r"journal|File too large")
    with files_of_at_most(30_000), full:
        ask(server, tmp_path / "out", source, concurrency=4)
    asked = len(server.requests())
    kept = journalled(tmp_path / "out")
    assert 20 < asked < 300 and kept >= asked - 4
    assert ask(server, tmp_path / "out", source)["valid"] == 343
    assert len(server.requests()) == asked + 343 - kept


def store_fifty(path):
    """What came of it, answer by answer, and how many the journal holds."""

    async def store_all(journal):
        return await asyncio.gather(*(journal.store(str(n), {"text": ""}) for n in range(50)), return_exceptions=True)

    with Journal(path) as file:
        return asyncio.run(store_all(AnswerJournal(file))), len(list(file.entries()))


def test_answers_that_wait_for_the_disk_are_written_together_and_fail_together(tmp_path, monkeypatch):
    syncs = []
    monkeypatch.setattr(os, "fsync", lambda file: (time.sleep(0.02), syncs.append(file)))
    assert store_fifty(tmp_path / "slow") == ([None] * 50, 50) and len(syncs) == 2

    def is_full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", is_full)
    errors, held = store_fifty(tmp_path / "full")
    assert held == 0 and all(isinstance(error, OSError) and error.filename.endswith("full") for error in errors)


def test_an_estimate_asks_nothing_and_is_right_about_the_number_of_questions(server, tmp_path):
    source = Pictures(parts=2, each=12, questions=("How old does this person look?",))
    annotator = Annotator(server.url, "m", input_price=1.0, output_price=4.0, max_tokens=500, attempts=2)
    found = estimate(source, annotator, sample=5, progress=False)
    assert server.requests() == []
    assert [found[name] for name in ("faces", "requests", "counted", "sampled")] == [22, 44, True, 5]
    assert found["skipped"] == {"no face": 2}
    # 280 x 336 pixels are 10 x 12 patches, in each of 44 questions; the words come on top
    assert 44 * 120 < found["input_tokens"] < 44 * 200
    assert 22 * 2 * 140 < found["output_tokens"] < 22 * 2 * 200
    assert found["cost"] == pytest.approx((found["input_tokens"] + 4 * found["output_tokens"]) / 1e6)
    assert found["most_output_tokens"] == 44 * 2 * 500
    assert estimate(Pictures(parts=40, each=7), annotator, limit=100, progress=False)["faces"] == 100


class Pictures(Faces):
    """The same with pictures that have a size."""

    def faces(self, part):
        import io

        file = io.BytesIO()
        Image.new("RGB", (280, 336)).save(file, "JPEG")
        for face in super().faces(part):
            if isinstance(face, Skipped):
                yield face
            else:
                shown = picture_part(file.getvalue())
                asked = (Request(r.name, [user(shown, "Describe this face.")], r.schema) for r in face.requests)
                yield FaceToAsk(face.id, tuple(asked))


def test_a_limit_is_spread_over_the_parts(server, tmp_path):
    assert ask(server, tmp_path / "out", Faces(parts=4, each=10), limit=6)["faces"] == 6
    ids = [face.id.split("/")[1] for face in read_answers(tmp_path / "out").answers()]
    assert ids == ["0", "0", "1", "1", "2", "3"]


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://openrouter.ai/api/v1/chat/completions", "https://openrouter.ai/api/v1"),
        ("https://host/v1beta/openai", "https://host/v1beta/openai"),
    ],
)
def test_an_endpoint_is_named_with_or_without_v1(given, called):
    assert Annotator(given, "m").endpoint == called


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("endpoint", "localhost:8000", "http://localhost:8000/v1"),
        ("structured", "xml", "json_schema, json_object, none"),
        ("attempts", 0, "1 or more"),
        ("max_tokens", 0, "1 or more"),
        ("timeout", 0, "or more"),
        ("timeout", math.inf, "or more"),
        ("temperature", -1, "0 or more"),
        ("input_price", -1.0, "0 or more"),
    ],
)
def test_wrong_settings_are_refused(argument, value, remedy):
    with refuses(argument, value, remedy):
        Annotator(**{"endpoint": "http://localhost:8000", "model": "m", argument: value})


def test_a_key_in_the_url_is_refused_and_not_repeated():
    with refuses("endpoint", "https://host", "name a variable"):
        Annotator(endpoint="https://me:key@host/v1", model="m")


def test_pictures_are_sent_as_what_they_are():
    assert picture_part(jpeg("a"))["image_url"]["url"].startswith("data:image/jpeg;base64,/9j")
    assert picture_part(b"\x89PNG\r\n")["image_url"]["url"].startswith("data:image/png;")
    with pytest.raises(CorpusError, match=r"JPEG, PNG.*WebP.*encode"):
        picture_part(b"GIF89a")


def test_the_servers_answers_follow_the_schema_and_the_question_alone():
    assert answer_to(SCHEMA, "a") == answer_to(SCHEMA, "a") != answer_to(SCHEMA, "b")
    check("table", answer_to(SCHEMA, "a"))
