"""A benchmark is asked once: what was answered stands in the folder, whatever happens to the process."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from datasets_scripts.schema import LabelledFace
from facemllm.cli import UserError
from facemllm.evaluation.answers import Answer
from facemllm.evaluation.benchmarks import Wanted, open_benchmark
from facemllm.evaluation.predict import FACES_AT_ONCE, predict, run_into
from facemllm.evaluation.predictions import PredictionLog, read_predictions
from facemllm.evaluation.stub_answerer import Known, StubAnswerer

TASKS = ("beard", "hat")
REPOSITORY = Path(__file__).resolve().parents[3]


def drawn(count):
    return open_benchmark("synthetic", Wanted(limit=count, tasks=TASKS, options={"size": "16"}))


class Counting:
    """Answers the first option, and counts what it was asked; told to, it stops in the middle."""

    def __init__(self, stop_after=None):
        self.asked, self.stop_after = [], stop_after

    def answer(self, faces, way):
        for face in faces:
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            self.asked.append((face.id, way))
            yield [Answer(text=question.options[0]) for question in face.questions]

    def describe(self):
        return {}


def test_a_rerun_asks_only_what_is_missing_and_the_predictions_are_the_same(tmp_path):
    with PredictionLog(tmp_path / "whole.jsonl") as log:
        predict(drawn(9), Counting(), ("generation",), log)
    with PredictionLog(tmp_path / "parts.jsonl") as log:
        predict(drawn(4), Counting(), ("generation",), log)
    again = Counting()
    with PredictionLog(tmp_path / "parts.jsonl") as log:
        counts = predict(drawn(9), again, ("generation",), log)
    assert len(again.asked) == 5 and counts.faces == 9
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_kill_9_loses_no_finished_part_and_a_rerun_completes_it(tmp_path):
    path = tmp_path / "predictions.jsonl"
    script = f"""
import time
from facemllm.evaluation.answerers import Answer
from facemllm.evaluation.benchmarks import Wanted, open_benchmark
from facemllm.evaluation.predict import predict
from facemllm.evaluation.predictions import PredictionLog

class Slow:
    def answer(self, faces, way):
        for face in faces:
            time.sleep(0.005)
            yield [Answer(text=question.options[0]) for question in face.questions]

benchmark = open_benchmark("synthetic", Wanted(limit=10_000, tasks={TASKS!r}, options={{"size": "16"}}))
with PredictionLog({str(path)!r}) as log:
    predict(benchmark, Slow(), ("generation",), log)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    child = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not path.is_file() or path.stat().st_size == 0:
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    kept = len(list(read_predictions(path)))
    assert kept > 0
    count = kept // len(TASKS) + 3
    again = Counting()
    with PredictionLog(path) as log:
        predict(drawn(count), again, ("generation",), log)
    rows = list(read_predictions(path))
    assert len(again.asked) == 3 and len(rows) == count * len(TASKS)
    assert len({(row.id, row.task) for row in rows}) == len(rows)


def test_answers_are_written_before_the_benchmark_is_through(tmp_path):
    with PredictionLog(tmp_path / "p.jsonl") as log, pytest.raises(KeyboardInterrupt):
        predict(drawn(2 * FACES_AT_ONCE), Counting(stop_after=FACES_AT_ONCE + 1), ("generation",), log)
    assert len(list(read_predictions(tmp_path / "p.jsonl"))) == FACES_AT_ONCE * len(TASKS)


def test_a_picture_that_cannot_be_decoded_is_counted_and_costs_no_other(tmp_path):
    benchmark = drawn(3)
    faces = list(benchmark.faces())
    faces[1] = replace(faces[1], image={"bytes": b"no picture", "path": "broken.jpg"})
    answerer = Counting()
    with PredictionLog(tmp_path / "p.jsonl") as log:
        counts = predict(replace(benchmark, faces=lambda: iter(faces)), answerer, ("generation",), log)
    assert counts.as_json() == {"faces": 2, "unlabelled": 0, "unreadable": {"unreadable image": 1}, "left_out": {}}
    assert [id for id, _ in answerer.asked] == [faces[0].id, faces[2].id]


def test_a_face_is_asked_only_what_is_known_of_it(tmp_path):
    benchmark = open_benchmark("synthetic", Wanted(limit=12, tasks=("hair_color", "hat")))
    bald = [face.id for face in benchmark.faces() if "hair_color" not in face.labels["attributes"]]
    with PredictionLog(tmp_path / "p.jsonl") as log:
        predict(benchmark, Counting(), ("generation",), log)
    asked = [entry.id for entry in read_predictions(tmp_path / "p.jsonl") if entry.task == "hair_color"]
    assert bald and not set(bald) & set(asked) and len(asked) == 12 - len(bald)


SETTINGS = {"model": "a", "split": "test", "tasks": ["hat"]}


def run(out, answerer, settings=SETTINGS, ways=("generation",), count=3):
    def ask(log, ways):
        return {"counts": predict(drawn(count), answerer, ways, log).as_json(), "majority": {}}

    return run_into(out, settings, ways, ask, benchmark="synthetic", tasks=[])


def test_a_complete_run_is_not_asked_again_and_a_second_way_is_added_to_it(tmp_path):
    assert run(tmp_path, Counting())["status"] == "complete"
    again = Counting()
    assert run(tmp_path, again)["counts"]["faces"] == 3 and not again.asked
    benchmark = drawn(3)
    known = {face.id: Known(face.labels["attributes"]) for face in benchmark.faces() if isinstance(face, LabelledFace)}
    assert run(tmp_path, StubAnswerer(known), ways=("scoring",))["settings"]["ways"] == ["generation", "scoring"]
    ways = [entry.way for entry in read_predictions(tmp_path / "predictions.jsonl")]
    assert ways.count("scoring") == ways.count("generation") == 3 * len(TASKS)


def test_a_complete_run_whose_predictions_are_gone_is_asked_again(tmp_path):
    run(tmp_path, Counting())
    (tmp_path / "predictions.jsonl").unlink()
    again = Counting()
    run(tmp_path, again)
    assert len(again.asked) == 3


def test_predictions_of_other_settings_are_refused_with_the_remedy(tmp_path):
    run(tmp_path, Counting())
    with pytest.raises(UserError, match=r"run\.json\b.*model: a\b.* b\b.*take another --out"):
        run(tmp_path, Counting(), {**SETTINGS, "model": "b"})
    (tmp_path / "run.json").unlink()
    with pytest.raises(UserError, match=r"run\.json\b.*take another --out"):
        run(tmp_path, Counting())


def test_the_folder_of_a_training_is_not_written_into(tmp_path):
    (tmp_path / "run.json").write_text('{"recipe": {}, "steps": 3}')
    with pytest.raises(UserError, match=r"run\.json\b.*take another --out"):
        run(tmp_path, Counting())


def test_an_interrupted_run_says_so_until_it_is_complete(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Counting(stop_after=1))
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "running"
    assert run(tmp_path, Counting())["status"] == "complete"
