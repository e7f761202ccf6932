"""The same answers from one process, from two, from Ray and from Slurm; and after a kill of two workers' parent."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from datasets_scripts.annotator.answers import read_answers
from tests.datasets_scripts.annotator.server import AnnotatorServer
from tests.datasets_scripts.engines.one_node_ray import ROOT, one_node_ray
from tests.datasets_scripts.engines.one_node_slurm import one_node_slurm, why_not

PARTS, EACH, CONCURRENCY = 4, 20, 8
PROGRAM = f"""
import json, sys
from datasets_scripts.annotator import Annotator, annotate
from tests.datasets_scripts.annotator.faces import Faces, check
if __name__ == "__main__":
    source = Faces(parts={PARTS}, each={EACH}, questions=("What is the light like?",))
    annotator = Annotator(sys.argv[1], "m", concurrency={CONCURRENCY}, timeout=2.0)
    annotate(source, annotator, sys.argv[2], check=check, progress=False, **json.loads(sys.argv[3]))
"""
MISBEHAVIOUR = "500:0.03,close:0.03,nojson:0.05,wrong:0.05,refusal:0.02"


@pytest.fixture
def server(tmp_path):
    with AnnotatorServer(tmp_path / "log.jsonl", MISBEHAVIOUR, latency=0.02) as started:
        yield started


def start(server, out, **settings):
    program = out.parent / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), server.url, str(out), json.dumps(settings)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)


def answers(server, out, **settings):
    """All that an annotation gave, once the program has ended well."""
    assert start(server, out, **settings).wait(timeout=240) == 0
    answered = read_answers(out)
    return answered.describe(), list(answered.answers())


@pytest.mark.slow
def test_one_process_two_and_ray_give_the_same_answers(server, tmp_path, monkeypatch):
    alone = answers(server, tmp_path / "alone")
    assert len(alone[1]) == PARTS * EACH
    assert answers(server, tmp_path / "two", workers=2) == alone
    with one_node_ray(monkeypatch.setenv) as address:
        options = {"engine": "ray", "workers": 2, "engine_options": {"address": address}}
        assert answers(server, tmp_path / "ray", **options) == alone


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_slurm_gives_the_same_answers(server, tmp_path, monkeypatch):
    alone = answers(server, tmp_path / "alone")
    with tempfile.TemporaryDirectory() as folder, one_node_slurm(Path(folder)) as configuration:
        monkeypatch.setenv("SLURM_CONF", configuration)
        options = {"partition": "cpu", "mem_per_cpu_gb": 1, "poll_seconds": 0.5}
        assert answers(server, tmp_path / "slurm", engine="slurm", workers=2, engine_options=options) == alone


@pytest.mark.slow
def test_what_two_workers_did_not_end_is_made_good_by_the_next_run(server, tmp_path):
    undisturbed = answers(server, tmp_path / "undisturbed")
    before = len(server.requests())
    killed = start(server, tmp_path / "killed", workers=2)
    while len(server.requests()) < 1.4 * before:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    time.sleep(1.0)
    asked = len(server.requests())
    time.sleep(1.0)
    assert len(server.requests()) == asked, "the workers went on without their parent"
    assert answers(server, tmp_path / "killed", engine="local", workers=2) == undisturbed
    whole = Counter(line["question"] for line in server.requests() if line["whole"])
    assert sum(whole.values()) - 2 * len(whole) <= CONCURRENCY  # those in flight at the kill
