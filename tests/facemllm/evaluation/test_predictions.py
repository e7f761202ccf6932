"""Predictions are lines of a file that a kill does not lose and a rerun does not repeat."""

from dataclasses import replace

import pytest

from facemllm.cli import UserError
from facemllm.evaluation.predictions import Prediction, PredictionLog, TaskSpec, read_predictions


def prediction(number, task="gender", way="scoring"):
    return Prediction(
        id=f"face/{number}",
        task=task,
        way=way,
        expected="female",
        predicted="male",
        probabilities={"female": 0.25, "male": 0.75},
        groups={"age_group": "20-29"},
    )


def test_what_is_written_is_read_back_equal(tmp_path):
    entries = [
        prediction(0),
        Prediction("é", "age", "generation", expected=31.0, predicted=None, text="about\nthirty"),
        Prediction("p", "pose", "scoring", expected={"yaw": -3.5}, predicted={"yaw": 2.0}, extra={"category": "x"}),
        Prediction("u", "action_units", "scoring", expected={"12": True}, predicted={"12": False}),
    ]
    with PredictionLog(tmp_path / "predictions.jsonl") as log:
        log.append(entries)
    assert list(read_predictions(tmp_path / "predictions.jsonl")) == entries


def test_what_was_answered_is_known_and_not_written_twice(tmp_path):
    path = tmp_path / "predictions.jsonl"
    with PredictionLog(path) as log:
        log.append([prediction(0), prediction(0, way="generation")])
    with PredictionLog(path) as log:
        assert ("face/0", "gender", "generation") in log and ("face/0", "age", "scoring") not in log
        log.append([prediction(0), prediction(1)])
        assert len(log) == 3
    assert len(list(read_predictions(path))) == 3


def test_a_torn_last_line_is_dropped_and_its_question_asked_again(tmp_path):
    path = tmp_path / "predictions.jsonl"
    with PredictionLog(path) as log:
        log.append([prediction(0), prediction(1)])
    path.write_bytes(path.read_bytes()[:-9])
    assert [entry.id for entry in read_predictions(path)] == ["face/0"]
    with PredictionLog(path) as log:
        assert ("face/1", "gender", "scoring") not in log
        log.append([prediction(1)])
    assert [entry.id for entry in read_predictions(path)] == ["face/0", "face/1"]


def test_a_line_that_is_no_prediction_is_named(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text('{"id": "face/0"}\n')
    with pytest.raises(UserError, match=r"predictions\.jsonl, line 1\b.*remove that line"):
        list(read_predictions(path))
    with pytest.raises(UserError, match=r"none\.jsonl\b.*facemllm evaluate --out"):
        list(read_predictions(tmp_path / "none.jsonl"))


def test_a_second_process_does_not_write_the_same_file(tmp_path):
    path = tmp_path / "predictions.jsonl"
    with (
        PredictionLog(path),
        pytest.raises(UserError, match=r"predictions\.jsonl\b.*wait for it, or take another --out"),
    ):
        PredictionLog(path)
    PredictionLog(path).close()


def test_an_id_that_is_no_utf_8_is_kept_as_it_is(tmp_path):
    entry = replace(prediction(0), id="caf\udce9")
    with PredictionLog(tmp_path / "predictions.jsonl") as log:
        log.append([entry])
    assert list(read_predictions(tmp_path / "predictions.jsonl")) == [entry]
    with PredictionLog(tmp_path / "predictions.jsonl") as log:
        assert (entry.id, "gender", "scoring") in log


def test_a_task_is_the_same_after_json():
    import json

    spec = TaskSpec("age", "options", ("0-2", "3-9"), ordered=True, bins={"0-2": (0, 3), "3-9": (3, 10)})
    assert TaskSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
