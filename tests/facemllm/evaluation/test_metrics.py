"""The evaluate modules: loaded from a path, offline, by an outsider with plain lists; and as scikit-learn has it."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from facemllm.evaluation import metrics
from facemllm.evaluation.figures.bootstrap import wilson_interval


@pytest.fixture(scope="module")
def compute():
    """Computes a metric by its name. Few resamples: the intervals are tested elsewhere."""
    loaded = {name: metrics.load(name, keep_in_memory=True) for name in metrics.NAMES}
    return lambda name, **inputs: loaded[name].compute(**{"resamples": 20, **inputs})


def value(found, metric):
    return found["metrics"][metric]["value"]


@pytest.mark.parametrize("name", metrics.NAMES)
def test_a_module_loads_offline_by_its_path_and_describes_itself(name, tmp_path, monkeypatch):
    import evaluate

    monkeypatch.chdir(tmp_path)
    metric = evaluate.load(str(Path(metrics.__file__).parent / name), cache_dir=str(tmp_path))
    assert metric.name == name
    for words in (metric.description, metric.citation, metric.inputs_description, *metric.reference_urls):
        assert len(words) > 20


@pytest.mark.parametrize("name", metrics.NAMES)
def test_the_example_of_the_documentation_holds(name, monkeypatch):
    import doctest

    import evaluate

    monkeypatch.chdir(Path(metrics.__file__).parents[3])
    documented = metrics.load(name).inputs_description
    test = doctest.DocTestParser().get_doctest(documented, {"evaluate": evaluate}, name, name, 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(ValueError, match=r"'f2'.*classification"):
        metrics.load("f2")


@pytest.mark.parametrize("seed", range(3))
def test_classification_agrees_with_scikit_learn(compute, seed):
    rng = np.random.default_rng(seed)
    # The class 5 is never predicted, the class 6 never right.
    references, predictions = rng.choice(6, 300).tolist(), rng.choice([0, 1, 2, 3, 4, 6], 300).tolist()
    found = compute("classification", predictions=predictions, references=references, classes=list(range(7)))
    assert value(found, "accuracy") == pytest.approx(sklearn_metrics.accuracy_score(references, predictions))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = sklearn_metrics.balanced_accuracy_score(references, predictions)
    assert value(found, "balanced_accuracy") == pytest.approx(balanced)
    f1 = sklearn_metrics.f1_score(references, predictions, average=None, labels=range(7), zero_division=np.nan)
    assert value(found, "macro_f1") == pytest.approx(f1.mean())
    assert [found["classes"][place]["f1"]["value"] for place in range(7)] == pytest.approx(f1.tolist())
    matrix = sklearn_metrics.confusion_matrix(references, predictions, labels=range(7))
    assert [row[:-1] for row in found["confusion"]["counts"]] == matrix.tolist()


def test_a_class_neither_right_nor_said_is_left_out_of_both_means(compute):
    found = compute("classification", predictions=["a", "b"], references=["a", "a"], classes=["a", "b", "c"])
    assert value(found, "balanced_accuracy") == 0.5
    assert value(found, "macro_f1") == pytest.approx((2 / 3 + 0) / 2)
    assert found["classes"]["c"]["f1"] == {"value": None, "interval": None, "n": 0}


def test_an_unread_answer_is_wrong_and_no_class_of_its_own(compute):
    found = compute("classification", predictions=["a", None, "what?", "b"], references=["a", "a", "b", "b"])
    assert value(found, "accuracy") == 0.5
    assert value(found, "macro_f1") == pytest.approx(2 / 3)
    assert found["unparsed"] == {"count": 2, "rate": 0.5}
    assert found["confusion"] == {
        "labels": ["a", "b"],
        "columns": ["a", "b", "unparsed"],
        "counts": [[1, 0, 1], [0, 1, 1]],
    }


def test_a_neighbour_of_an_ordered_class_is_within_one(compute):
    groups = ["0-2", "3-9", "10-19"]
    said = {"predictions": ["3-9", "10-19", "3-9"], "references": ["0-2", "0-2", "3-9"]}
    found = compute("classification", classes=groups, ordered=True, **said)
    assert value(found, "accuracy_within_one") == pytest.approx(2 / 3)


@pytest.mark.parametrize(("name", "parts"), [("attributes", "attributes"), ("action_units", "units")])
def test_presence_agrees_with_scikit_learn(compute, name, parts):
    rng = np.random.default_rng(0)
    references, predictions = rng.integers(2, size=(200, 4)), rng.integers(2, size=(200, 4))
    found = compute(name, predictions=predictions, references=references, names=["1", "2", "4", "12"])
    per_label = {
        "accuracy": sklearn_metrics.accuracy_score,
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score,
        "f1": sklearn_metrics.f1_score,
    }
    for metric, reference in per_label.items():
        each = [reference(references[:, place], predictions[:, place]) for place in range(4)]
        assert [unit[metric]["value"] for unit in found[parts].values()] == pytest.approx(each)
        assert value(found, metric) == pytest.approx(np.mean(each))


def test_a_unit_that_nothing_shows_has_no_f1_and_no_part_in_the_mean(compute):
    found = compute("action_units", predictions=[[1, 0], [0, 0]], references=[[1, 0], [1, 0]])
    assert found["units"]["1"]["f1"]["value"] is None
    assert value(found, "f1") == pytest.approx(2 / 3)


def test_an_unlabelled_entry_is_left_out_and_an_unread_one_is_a_miss(compute):
    found = compute("action_units", predictions=[[1, 1], [None, 0]], references=[[1, None], [1, 0]], names=["1", "2"])
    assert found["units"]["2"]["accuracy"]["n"] == 1
    assert found["units"]["1"]["f1"]["value"] == pytest.approx(2 / 3)
    assert found["unparsed"]["count"] == 1


def test_labels_that_are_no_labels_are_refused(compute):
    with pytest.raises(ValueError, match=r"\[1, -1\].*1, 0 or None.*smiling, hat"):
        compute("attributes", predictions=[[1, -1]], references=[[1, 0]], names=["smiling", "hat"])


def test_age_errors_agree_with_scikit_learn_and_a_cumulative_histogram(compute):
    rng = np.random.default_rng(0)
    references = rng.integers(0, 100, 300).astype(float)
    predictions = references + rng.normal(0, 6, 300)
    found = compute("age_estimation", predictions=predictions, references=references)
    assert value(found, "mae") == pytest.approx(sklearn_metrics.mean_absolute_error(references, predictions))
    assert value(found, "mean_error") == pytest.approx((predictions - references).mean())
    for years in range(11):
        assert value(found, f"cs@{years}") == (np.abs(predictions - references) <= years).mean()


def test_an_unread_age_is_wrong_in_shares_and_left_out_of_the_error(compute):
    found = compute("age_estimation", predictions=[30, None], references=[34, 20])
    assert (value(found, "mae"), value(found, "cs@5"), found["unparsed"]["rate"]) == (4.0, 0.5, 0.5)
    assert (found["metrics"]["mae"]["n"], found["metrics"]["cs@5"]["n"]) == (1, 2)


def test_ages_fall_into_buckets_and_beyond_the_ends_into_the_last(compute):
    bins = {"0-2": (0, 3), "3-9": (3, 10), "10-19": (10, 20)}
    found = compute("age_estimation", predictions=[2.9, 3, 15, 80], references=[2, 2, 2, 12], bins=bins)
    assert (value(found, "bucket_accuracy"), value(found, "bucket_accuracy_within_one")) == (0.5, 0.75)
    beyond = compute("age_estimation", predictions=[50], references=[50], bins=bins)
    assert beyond["metrics"]["bucket_accuracy"] == {"value": None, "interval": None, "n": 0}


def test_buckets_with_gaps_are_refused(compute):
    with pytest.raises(ValueError, match=r"bins .*'4-9': \(4, 10\).*without gaps.*\(low, high\)"):
        compute("age_estimation", predictions=[5], references=[5], bins={"0-2": (0, 3), "4-9": (4, 10)})


def test_angles_go_the_shorter_way_round(compute):
    found = compute("head_pose", predictions=[[170, 10, 0], [0, 0, -3]], references=[[-170, 0, 0], [0, 0, 3]])
    assert [value(found, f"{angle}_mae") for angle in ("yaw", "pitch", "roll")] == [10, 5, 3]
    assert value(found, "mae") == 6


def test_a_pose_without_one_angle_is_unread(compute):
    found = compute("head_pose", predictions=[[1, 2, None], [1, 0, 0]], references=[[0, 0, 0], [0, 0, 0]])
    assert found["unparsed"] == {"count": 1, "rate": 0.5}
    assert found["metrics"]["yaw_mae"]["n"] == 1


@pytest.mark.parametrize("classes", [2, 5])
def test_brier_and_likelihood_agree_with_scikit_learn(compute, classes):
    rng = np.random.default_rng(0)
    probabilities, references = rng.dirichlet(np.ones(classes), 300), rng.integers(classes, size=300)
    found = compute("calibration", predictions=probabilities, references=references)
    likelihood = sklearn_metrics.log_loss(references, probabilities, labels=range(classes))
    assert value(found, "nll") == pytest.approx(likelihood)
    brier = ((probabilities - np.eye(classes)[references]) ** 2).sum(-1).mean()
    assert value(found, "brier") == pytest.approx(brier / (2 if classes == 2 else 1))
    if classes == 2:
        assert value(found, "brier") == pytest.approx(
            sklearn_metrics.brier_score_loss(references, probabilities[:, 1])
        )


def test_calibration_error_is_the_bins_distance_from_the_diagonal(compute):
    predictions = [[0.9, 0.1]] * 10 + [[0.7, 0.3]] * 10
    found = compute("calibration", predictions=predictions, references=[0] * 8 + [1] * 2 + [0] * 9 + [1])
    assert value(found, "ece") == pytest.approx(0.5 * 0.1 + 0.5 * 0.2)
    assert value(found, "adaptive_ece") == pytest.approx(0.15)
    filled = [entry for entry in found["bins"] if entry["n"]]
    assert [(entry["n"], entry["accuracy"]) for entry in filled] == [(10, 0.9), (10, 0.8)]
    assert all(entry["low"] < entry["confidence"] <= entry["high"] for entry in filled)


def test_probabilities_of_another_sum_are_refused(compute):
    with pytest.raises(ValueError, match=r"probabilities.*sum 1.*normalise them"):
        compute("calibration", predictions=[[0.9, 0.9]], references=[0])
    with pytest.raises(ValueError, match=r"references.*0 to 1"):
        compute("calibration", predictions=[[0.5, 0.5]], references=[2])


@pytest.mark.parametrize("name", metrics.NAMES)
def test_no_rows_are_no_error_and_no_figures(compute, name):
    found = compute(name, predictions=[], references=[])
    assert found["n"] == 0
    assert {entry["value"] for entry in found["metrics"].values()} == {None}


def test_rows_of_one_face_share_an_id(compute):
    said = {"predictions": [1, 0] * 50, "references": [1, 1] * 50}
    found = compute("classification", ids=np.repeat(range(50), 2).tolist(), **said)
    assert found["faces"] == 50
    # Each face is right in one row of two, so whichever faces are drawn, half is right: as if there were no doubt.
    assert found["metrics"]["accuracy"] == {"value": 0.5, "interval": wilson_interval(0.5, 50), "n": 100}


@pytest.mark.parametrize(
    ("name", "inputs", "told"),
    [
        (
            "classification",
            {"predictions": ["a"], "references": ["c"], "classes": ["a", "b"]},
            "references: 'c'.*classes a, b",
        ),
        ("classification", {"predictions": ["a", "a"], "references": ["a", None]}, "references: None.*classes a"),
        (
            "age_estimation",
            {"predictions": [3, 4], "references": [3, None]},
            "references: row 1 .*leave rows without a label out",
        ),
        (
            "head_pose",
            {"predictions": [[0, 0, 0]], "references": [[0, None, 0]]},
            "references: row 0 .*leave rows without a label out",
        ),
    ],
)
def test_a_row_without_a_right_answer_is_refused(compute, name, inputs, told):
    with pytest.raises(ValueError, match=told):
        compute(name, **inputs)


def test_rows_may_come_in_batches():
    metric = metrics.load("classification", keep_in_memory=True)
    metric.add_batch(predictions=["a", "b"], references=["a", "a"])
    metric.add(prediction="a", reference="a")
    assert value(metric.compute(resamples=20), "accuracy") == pytest.approx(2 / 3)
