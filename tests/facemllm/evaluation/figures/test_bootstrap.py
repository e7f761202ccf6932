"""Intervals by resampling faces: whole faces, the same for the same seed, and as wide as they should be."""

import time

import numpy as np
import pytest
from scipy.sparse import csr_array

from facemllm.evaluation.figures.bootstrap import (
    Statistic,
    Summed,
    estimates,
    face_codes,
    percentile_interval,
    ratio,
    resampled_sums,
    sum_by,
    wilson_interval,
)


def mean_of(values: np.ndarray) -> Summed:
    rows = csr_array(np.stack([values, np.ones(len(values))], axis=-1))
    return Summed(rows, {"mean": Statistic(lambda s: ratio(s[..., 0], s[..., 1]), lambda s: s[..., 1])})


def share_of(right: np.ndarray) -> Summed:
    summed = mean_of(right)
    (mean,) = summed.statistics.values()
    return Summed(summed.rows, {"share": Statistic(mean.value, mean.count, proportion=True)})


def width(interval: list[float]) -> float:
    return interval[1] - interval[0]


def test_the_interval_is_that_of_a_plain_bootstrap_written_as_a_loop():
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, size=300)
    means = [rng.choice(values, len(values)).mean() for _ in range(4000)]
    (found,) = estimates(mean_of(values), resamples=4000).values()
    assert found["interval"] == pytest.approx(percentile_interval(np.array(means)), abs=0.02)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    values = np.random.default_rng(1).normal(size=100)
    first, again, other = (estimates(mean_of(values), seed=seed)["mean"]["interval"] for seed in (3, 3, 4))
    assert first == again != other


def test_rows_of_one_face_are_drawn_together():
    faces = np.random.default_rng(2).random(100) < 0.7
    rows, ids = np.repeat(faces, 25), np.repeat(np.arange(100), 25)
    apart = estimates(share_of(rows))["share"]
    together = estimates(share_of(rows), ids)["share"]
    assert together["n"] == apart["n"] == 2500
    assert width(together["interval"]) == pytest.approx(5 * width(apart["interval"]), rel=0.15)
    assert width(together["interval"]) == pytest.approx(
        width(estimates(share_of(faces))["share"]["interval"]), rel=0.15
    )


def test_ids_are_numbered_as_they_come_whatever_they_are():
    words = ["b", "a", "b", "c"]
    assert face_codes(words, 4).tolist() == face_codes(np.array([9, -4, 9, 5]), 4).tolist() == [0, 1, 0, 2]


def test_ids_must_be_as_many_as_rows():
    with pytest.raises(ValueError, match=r"\bids\b.*\b2\b.*\b3 rows\b.*one id for each row"):
        estimates(mean_of(np.ones(3)), ["a", "b"])


def test_bundles_of_faces_have_the_spread_of_single_faces(monkeypatch):
    sums = mean_of(np.random.default_rng(5).normal(size=4000)).rows
    alone = np.concatenate(list(resampled_sums(sums, 2000, 0)))
    monkeypatch.setattr("facemllm.evaluation.figures.bootstrap.MAX_UNITS", 1000)
    bundled = np.concatenate(list(resampled_sums(sums, 2000, 0)))
    assert bundled[:, 0].std() == pytest.approx(alone[:, 0].std(), rel=0.1)
    assert bundled[:, 1] == pytest.approx(4000)


def test_a_share_of_none_or_all_has_wilsons_interval():
    none, every = (estimates(share_of(np.full(50, right)))["share"] for right in (0.0, 1.0))
    assert none["interval"] == wilson_interval(0, 50) == [0.0, pytest.approx(0.0713, abs=1e-4)]
    assert every["interval"] == [pytest.approx(0.9287, abs=1e-4), 1.0]


def test_wilsons_interval_holds_the_share_and_narrows_with_more_answers():
    low, high = wilson_interval(0.9, 100)
    assert low < 0.9 < high
    assert wilson_interval(0.9, 1000)[0] > low
    assert wilson_interval(0.9, 100, confidence=0.8)[0] > low
    assert wilson_interval(0, 0) == [0.0, 1.0]


def test_all_rows_of_few_faces_being_right_says_no_more_than_the_faces():
    found = estimates(share_of(np.ones(500)), np.repeat(np.arange(5), 100))["share"]
    assert found["interval"] == wilson_interval(1, 5)


def test_a_mean_without_spread_or_of_one_face_has_no_interval():
    assert estimates(mean_of(np.full(50, 3.0)))["mean"] == {"value": 3.0, "interval": None, "n": 50}
    assert estimates(mean_of(np.array([1.0, 2.0])), ["a", "a"])["mean"] == {"value": 1.5, "interval": None, "n": 2}


def test_nothing_has_no_value():
    assert estimates(mean_of(np.empty(0)))["mean"] == {"value": None, "interval": None, "n": 0}


def test_an_interval_needs_half_of_the_resamples_defined():
    assert percentile_interval(np.array([np.nan, np.nan, 1.0, 2.0])) is None
    assert percentile_interval(np.array([np.nan, 1.0, 2.0])) is not None


def test_sums_by_face_keep_the_sum_of_all():
    rows = csr_array(np.random.default_rng(6).random((20, 3)))
    by_face = sum_by(rows, np.arange(20) % 7, 7)
    assert by_face.shape == (7, 3)
    assert by_face.sum(axis=0) == pytest.approx(rows.sum(axis=0))


def test_a_hundred_thousand_faces_take_seconds():
    started = time.process_time()
    estimates(mean_of(np.random.default_rng(7).normal(size=100_000)))
    assert time.process_time() - started < 3
