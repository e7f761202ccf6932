"""Exactly once: killed at 25 random moments, an annotation ends as if nothing had happened, and pays nothing twice."""

import multiprocessing
import random
import signal
import time
from collections import Counter

import pytest

from datasets_scripts.annotator.annotate import annotate
from datasets_scripts.annotator.answers import read_answers
from datasets_scripts.annotator.settings import Annotator
from datasets_scripts.corpus.writing import write_corpus
from tests.datasets_scripts.annotator.faces import AnsweredRecords, Faces, check
from tests.datasets_scripts.annotator.server import AnnotatorServer

KILLS, CONCURRENCY = 25, 8
SOURCE = Faces(parts=10, each=42, questions=("What is the light like?",))
MISBEHAVIOUR = (
    "429:0.01,500:0.02,hang:0.01,truncated:0.03,short:0.02,close:0.03,error200:0.02,"
    "nojson:0.03,wrong:0.04,refusal:0.02,filter:0.02,length:0.02,fenced:0.05"
)


def run(url, out):
    """What `facemllm annotate` does, in a process of its own."""
    annotator = Annotator(url, "m", concurrency=CONCURRENCY, timeout=2.0)
    work = f"{out}/.annotating"
    annotate(SOURCE, annotator, work, check=check, progress=False)
    records = {"captions": {"train": AnsweredRecords(work)}}
    about = {"name": "Faces", "license": "cc0-1.0", "description": "Faces.", "build": {}}
    write_corpus(records, out, **about, shard_rows=100, progress=False)


def read_corpus(out):
    """Every file of the corpus, byte for byte; the answers that it was made from are not among them."""
    files = (path for path in out.rglob("*") if path.is_file() and ".annotating" not in path.parts)
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def started(url, out):
    # a fork of a process that has imported everything: an import per kill would be most of the test's time
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [__name__, "datasets_scripts.annotator.runner", "datasets_scripts.engines.local", "openai"]
    )
    process = context.Process(target=run, args=(url, str(out)))
    process.start()
    return process


def wait_for_requests(server, number, process):
    """Until the server has logged so many in all, or the process has ended."""
    while process.is_alive() and server.log.read_bytes().count(b"\n") < number:
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_killed_at_25_random_moments_ends_as_an_undisturbed_one(tmp_path):
    options = {"misbehave": MISBEHAVIOUR, "latency": 0.01, "retry_after": "0.2"}
    with AnnotatorServer(tmp_path / "undisturbed.jsonl", **options) as server:
        run(server.url, tmp_path / "undisturbed")
        expected = len(server.requests())

    chance, kills = random.Random(0), 0
    steps = [chance.random() for _ in range(KILLS)]
    with AnnotatorServer(tmp_path / "killed.jsonl", **options) as server:
        asked = 0.0
        for step in steps:
            process = started(server.url, tmp_path / "killed")
            asked += 0.7 * expected * step / sum(steps)  # the rest is for what is asked again, and while we look away
            wait_for_requests(server, asked, process)
            time.sleep(chance.uniform(0, 0.03))
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL  # or it had ended, or failed, by itself
        last = started(server.url, tmp_path / "killed")
        last.join()
        requests = server.requests()

    assert kills == KILLS and last.exitcode == 0
    corpus = read_corpus(tmp_path / "undisturbed")
    assert read_corpus(tmp_path / "killed") == corpus and len(corpus) == 7  # five shards, card, counts
    undisturbed, killed = (read_answers(tmp_path / name / ".annotating") for name in ("undisturbed", "killed"))
    assert killed.describe() == undisturbed.describe()  # with the digest of all answers
    assert list(killed.answers()) == list(undisturbed.answers()) and len(killed) == 420
    whole = Counter(request["question"] for request in requests if request["whole"])
    twice = sum(whole.values()) - len(whole)
    assert twice <= KILLS * CONCURRENCY  # those in flight at a kill
    assert len(requests) <= expected + KILLS * CONCURRENCY
    assert {request["kind"] for request in requests} >= {kind.split(":")[0] for kind in MISBEHAVIOUR.split(",")}
