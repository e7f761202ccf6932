"""Where the truth is known, the figures say it: by a stub that is right at chosen rates, and in repeated experiments.

An interval of 95 % must hold the truth in about 95 of 100 repetitions, and a gap between equal groups be told as
chance.
"""

import math
from statistics import NormalDist

import numpy as np
import pytest

from facemllm.evaluation.answers import AskedFace, AskedQuestion
from facemllm.evaluation.figures.bootstrap import estimates
from facemllm.evaluation.figures.confusion import across, classification, presence
from facemllm.evaluation.figures.errors import age_estimation, head_pose
from facemllm.evaluation.figures.reliability import reliability
from facemllm.evaluation.figures.task_figures import calibration_figures, group_figures, task_figures
from facemllm.evaluation.predictions import Prediction, TaskSpec
from facemllm.evaluation.stub_answerer import Known, StubAnswerer
from facemllm.evaluation.task_protocols import read_option

OPTIONS = ("happy", "sad", "surprised", "neutral")
SPEC = TaskSpec("expression", "options", OPTIONS)
RATES = {("gender", "female"): 0.9, ("gender", "male"): 0.7}
FACES = 4000
REPETITIONS = 150


@pytest.fixture(scope="module")
def known():
    return {
        f"face {place}": Known(
            {"expression": OPTIONS[place % 4]},
            {"gender": "female" if place % 8 < 4 else "male", "race": "black" if place % 16 < 8 else "white"},
        )
        for place in range(FACES)
    }


def answered(known, way, **settings):
    """The predictions of a stub, read as an answerer's are."""
    stub = StubAnswerer(known, rates=RATES, **settings)
    question = AskedQuestion("expression", "Which expression?", OPTIONS)
    faces = [AskedFace(id, (), (question,)) for id in known]
    for face, (answer,) in zip(faces, stub.answer(faces, way), strict=True):
        read, truth = read_option(answer, OPTIONS), known[face.id]
        yield Prediction(
            face.id,
            "expression",
            way,
            truth.answers["expression"],
            read.predicted,
            read.probabilities,
            read.text,
            dict(truth.groups),
        )


def holds(entry, truth):
    low, high = entry["interval"]
    return low <= truth <= high


def test_a_stub_right_in_four_of_five_has_these_figures(known):
    found = task_figures(SPEC, answered(known, "scoring"))
    assert found["n"] == found["faces"] == FACES
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert holds(found["metrics"][metric], 0.8)
    assert all(holds(entry["recall"], 0.8) for entry in found["classes"].values())
    assert np.sum(found["confusion"]["counts"]) == FACES
    assert found["baseline"]["value"] == found["baseline"]["chance"] == 0.25


def test_a_stub_whose_confidence_is_its_rate_is_calibrated(known):
    calibration = task_figures(SPEC, answered(known, "scoring"))["calibration"]
    error = calibration["metrics"]["ece"]
    # Chance makes an error of a calibrated model too; that it need not be more is what the interval says.
    assert 0 < error["value"] < calibration["if_calibrated"]["ece"]["p95"] < 0.05
    assert holds(error, 0.0)


def test_a_stub_sure_of_everything_is_off_by_what_it_gets_wrong(known):
    calibration = task_figures(SPEC, answered(known, "scoring", confidence=0.99))["calibration"]
    assert holds(calibration["metrics"]["ece"], 0.99 - 0.8)
    # The squared errors of a right answer and of a wrong one, whose rest is shared by three options.
    rest = 0.01 / 3
    right, wrong = 0.01**2 + 3 * rest**2, 0.99**2 + (1 - rest) ** 2 + 2 * rest**2
    assert holds(calibration["metrics"]["brier"], 0.8 * right + 0.2 * wrong)
    assert holds(calibration["metrics"]["nll"], -0.8 * math.log(0.99) - 0.2 * math.log(rest))


def test_babble_is_counted_as_unread_and_as_wrong(known):
    found = task_figures(SPEC, answered(known, "generation", babble=0.25))
    assert found["unparsed"]["rate"] == pytest.approx(0.25, abs=0.03)
    assert holds(found["metrics"]["accuracy"], 0.8 * 0.75)
    assert found["calibration"] is None


def test_the_rate_of_each_group_is_found_and_their_gap(known):
    found = group_figures(SPEC, answered(known, "scoring"))
    by = found["by"]
    assert holds(by["gender"]["female"], 0.9)
    assert holds(by["gender"]["male"], 0.7)
    assert found["worst"]["groups"] == {"gender": "male"}
    assert found["worst_intersection"]["groups"]["gender"] == "male"
    assert holds(found["gap"]["gender"], 0.2)
    assert found["gap"]["gender"]["interval"][0] > found["gap"]["gender"]["if_equal"]["p95"]


def test_groups_answered_alike_are_told_so(known):
    gap = group_figures(SPEC, answered(known, "scoring"))["gap"]["race"]
    assert gap["interval"][0] == 0.0
    assert gap["value"] < 2 * gap["if_equal"]["p95"]


def confused(rng, faces=200):
    """Three classes, each with a rate of its own; wrong answers even among the others."""
    shares, rates = np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.7, 0.5])
    references = rng.choice(3, size=faces, p=shares)
    right = rng.random(faces) < rates[references]
    summed = classification(references, np.where(right, references, (references + rng.integers(1, 3, faces)) % 3), 3)
    matrix = shares[:, None] * (np.diag(rates) + (1 - np.eye(3)) * (1 - rates[:, None]) / 2)
    f1 = 2 * matrix.diagonal() / (matrix.sum(0) + matrix.sum(1))
    return summed, None, {"accuracy": matrix.trace(), "balanced_accuracy": rates.mean(), "macro_f1": f1.mean()}


def several_rows_a_face(rng):
    """Each of 100 faces is asked four times and answered alike."""
    right = np.repeat(rng.random(100) < 0.8, 4).astype(int)
    return classification(np.ones(400, int), right, 2), np.repeat(np.arange(100), 4), {"accuracy": 0.8}


def ages(rng, faces=200):
    references = rng.uniform(10, 70, faces)
    error = NormalDist(1, 5)
    summed = age_estimation(references, references + rng.normal(error.mean, error.stdev, faces))
    # The mean distance from 0 of a normal variable: a folded normal distribution.
    mae = 5 * math.sqrt(2 / math.pi) * math.exp(-1 / 50) + (1 - 2 * NormalDist().cdf(-1 / 5))
    return summed, None, {"mae": mae, "mean_error": 1, "cs@5": error.cdf(5) - error.cdf(-5)}


def poses(rng, faces=200):
    references = rng.uniform(-90, 90, (faces, 3))
    summed = head_pose(references, references + rng.normal(0, 4, (faces, 3)))
    return summed, None, dict.fromkeys(("mae", "yaw_mae"), 4 * math.sqrt(2 / math.pi))


def units(rng, frames=200):
    """Four units, present in a fifth of the frames and told right in four fifths."""
    tasks = {}
    for unit in range(4):
        present = (rng.random(frames) < 0.2).astype(int)
        tasks[unit] = presence(present, np.where(rng.random(frames) < 0.8, present, 1 - present))
    return across(tasks), np.tile(np.arange(frames), 4), {"f1": 2 * 0.16 / (0.2 + 0.32), "accuracy": 0.8}


def overconfident(rng, faces=2000):
    """Right nine times where ten are promised."""
    confidence = rng.uniform(0.5, 1, faces)
    right = rng.random(faces) < 0.9 * confidence
    summed = reliability(np.where(right, 0, 1), np.stack([confidence, 1 - confidence], axis=-1))
    return summed, None, {"ece": 0.075}


@pytest.mark.parametrize("experiment", [confused, several_rows_a_face, ages, poses, units, overconfident])
def test_intervals_hold_the_truth_as_often_as_they_say(experiment):
    held = {}
    for repetition in range(REPETITIONS):
        summed, ids, truths = experiment(np.random.default_rng(repetition))
        found = estimates(summed, ids, resamples=200, seed=repetition)
        for metric, truth in truths.items():
            held[metric] = held.get(metric, 0) + holds(found[metric], truth)
    for metric, times in held.items():
        # Three standard errors of 150 repetitions below 0.93, what percentile intervals of a few hundred faces reach.
        assert 0.88 <= times / REPETITIONS <= 0.995, metric


def test_a_calibrated_models_error_is_seldom_told_from_none():
    told, repetitions = 0, 60
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        confidence = rng.uniform(0.5, 1, 300)
        references = (rng.random(300) >= confidence).astype(int)
        probabilities = np.stack([confidence, 1 - confidence], axis=-1)
        found = calibration_figures(references, probabilities, np.arange(300), resamples=100, seed=repetition)
        told += not holds(found["metrics"]["ece"], 0.0)
    assert told <= 0.15 * repetitions


@pytest.mark.parametrize("rates", [[0.8] * 6, [0.95, 0.8, 0.6]], ids=["equal", "unequal"])
def test_the_interval_of_a_gap_holds_it_also_where_there_is_none(rates):
    held, beyond_chance, repetitions = 0, 0, 50
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        predictions = [
            Prediction(f"{group} {face}", "t", "scoring", "yes", "yes" if right else "no", groups={"race": str(group)})
            for group, rate in enumerate(rates)
            for face, right in enumerate(rng.random(100) < rate)
        ]
        found = group_figures(TaskSpec("t", "binary"), predictions, ("race",), resamples=100, seed=repetition)
        gap = found["gap"]["race"]
        held += holds(gap, max(rates) - min(rates))
        beyond_chance += gap["value"] > gap["if_equal"]["p95"]
    assert held >= 0.85 * repetitions
    assert beyond_chance <= 0.15 * repetitions if len(set(rates)) == 1 else beyond_chance == repetitions
