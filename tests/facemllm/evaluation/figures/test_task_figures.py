"""The figures of one task: what each kind of answer is measured by, what is undefined, and what groups are told."""

import json

import pytest

from facemllm.evaluation.figures.task_figures import group_figures, mean_figures, task_figures
from facemllm.evaluation.predictions import Prediction, TaskSpec

EXPRESSION = TaskSpec("expression", "options", ("happy", "sad", "neutral"))
SMILING = TaskSpec("smiling", "binary", ("yes", "no"))
AGE = TaskSpec("age", "number", bins={"0-2": (0, 3), "3-9": (3, 10), "10-19": (10, 20)})
POSE = TaskSpec("head_pose", "angles")
UNITS = TaskSpec("action_units", "units", ("1", "12"))
FRONTAL = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0}

ONE_RIGHT = {
    "options": (EXPRESSION, "sad", "sad"),
    "binary": (SMILING, "yes", "yes"),
    "number": (AGE, 5.0, 5.0),
    "angles": (POSE, FRONTAL, FRONTAL),
    "units": (UNITS, {"1": True}, {"1": True}),
}


def said(spec, pairs, way="scoring", **known):
    """Predictions of faces 0, 1, … from pairs of expected and predicted."""
    return [
        Prediction(str(face), spec.name, way, expected, predicted, **known)
        for face, (expected, predicted) in enumerate(pairs)
    ]


def half_right(spec, right, wrong, count, id="", **groups):
    """`count` answers of one group, every other one right."""
    return [
        Prediction(f"{id}{face}", spec.name, "scoring", right, wrong if face % 2 else right, groups=groups)
        for face in range(count)
    ]


def all_right(spec, right, count, id="", **groups):
    return half_right(spec, right, right, count, id, **groups)


@pytest.mark.parametrize(("spec", "expected", "predicted"), ONE_RIGHT.values(), ids=ONE_RIGHT)
@pytest.mark.parametrize("rows", [0, 1, 40])
@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
def test_every_kind_of_task_has_figures_that_json_can_hold(spec, expected, predicted, rows, read):
    predictions = said(spec, [(expected, predicted if read else None)] * rows, groups={"gender": "female"})
    found = task_figures(spec, predictions, resamples=10)
    groups = group_figures(spec, predictions, resamples=10)
    json.dumps([found, groups], allow_nan=False)
    assert (found["n"], found["faces"], found["unparsed"]["count"]) == (rows, rows, 0 if read else rows)
    assert set(found["metrics"][found["primary"]]) == {"value", "interval", "n"}
    assert groups["metric"] == found["primary"]


def test_unread_answers_lower_an_accuracy_but_only_stand_beside_an_error_in_years():
    choices = task_figures(EXPRESSION, said(EXPRESSION, [("sad", "sad"), ("sad", None)]))
    years = task_figures(AGE, said(AGE, [(5.0, 7.0), (5.0, None)]))
    assert choices["metrics"]["accuracy"]["value"] == 0.5
    assert (years["metrics"]["mae"]["value"], years["metrics"]["mae"]["n"], years["unparsed"]["rate"]) == (2.0, 1, 0.5)


def test_rows_count_and_so_do_the_faces_behind_them():
    predictions = 3 * said(EXPRESSION, [("sad", "sad"), ("happy", "sad")])
    found = task_figures(EXPRESSION, predictions)
    assert (found["n"], found["faces"]) == (6, 2)


def test_predictions_of_another_task_are_refused():
    with pytest.raises(ValueError, match=r"'0'.*'smiling'.*'expression'.*select by task"):
        task_figures(EXPRESSION, said(SMILING, [("yes", "yes")]))


def test_two_ways_to_answer_are_never_mixed():
    mixed = said(SMILING, [("yes", "yes")]) + said(SMILING, [("yes", "no")], way="generation")
    with pytest.raises(ValueError, match=r"'smiling'.*\bgeneration\b.*\bscoring\b.*select one way"):
        task_figures(SMILING, mixed)


def test_an_expected_value_that_is_no_option_is_refused():
    with pytest.raises(ValueError, match=r"'expression'.*'0'.*'angry'.*happy, sad, neutral"):
        task_figures(EXPRESSION, said(EXPRESSION, [("angry", "sad")]))


def test_only_units_that_were_coded_count():
    pairs = [({"1": True, "12": True}, {"1": True, "12": False}), ({"1": False}, {"1": True, "12": True})]
    found = task_figures(UNITS, said(UNITS, pairs))
    assert (found["units"]["1"]["accuracy"]["n"], found["units"]["12"]["accuracy"]["n"]) == (2, 1)
    assert found["metrics"]["f1"]["value"] == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("spec", "pairs", "answer", "value"),
    [
        (EXPRESSION, [("sad", None)] * 3 + [("happy", None)], "sad", 0.75),
        (EXPRESSION, [("sad", None), ("happy", None)], "happy", 0.5),
        (AGE, [(2.0, None), (4.0, None), (9.0, None)], 4.0, 7 / 3),
        (
            POSE,
            [({"yaw": yaw, "pitch": 0.0, "roll": 0.0}, None) for yaw in (0.0, 9.0, 9.0)],
            FRONTAL | {"yaw": 9.0},
            1,
        ),
        (UNITS, [({"1": True}, None)] * 2 + [({"1": False}, None)] * 2, "every unit active", 2 / 3),
    ],
    ids=["most frequent", "tie", "median", "median angles", "always active"],
)
def test_the_baseline_is_the_best_answer_without_looking(spec, pairs, answer, value):
    baseline = task_figures(spec, said(spec, pairs))["baseline"]
    assert (baseline["answer"], baseline["source"]) == (answer, "this split")
    assert baseline["value"] == pytest.approx(value)


def test_the_baseline_of_the_training_split_is_taken_where_it_is_known():
    pairs = [("sad", "sad"), ("sad", "happy"), ("happy", "happy")]
    baseline = task_figures(EXPRESSION, said(EXPRESSION, pairs), majority="happy")["baseline"]
    assert baseline == {"answer": "happy", "value": 1 / 3, "chance": 0.5, "source": "training split"}


def test_chance_is_the_balanced_accuracy_of_one_answer_to_all():
    found = task_figures(EXPRESSION, said(EXPRESSION, [("sad", "sad"), ("sad", "sad"), ("happy", "sad")]))
    assert found["metrics"]["balanced_accuracy"]["value"] == found["baseline"]["chance"] == 0.5


def test_only_scored_answers_have_a_calibration():
    scored = said(SMILING, [("yes", "yes")] * 3, probabilities={"yes": 0.8, "no": 0.2})
    assert task_figures(SMILING, said(SMILING, [("yes", "yes")]))["calibration"] is None
    calibration = task_figures(SMILING, scored)["calibration"]
    assert calibration["n"] == 3
    assert calibration["metrics"]["ece"]["value"] == pytest.approx(0.2)


def test_the_units_probabilities_are_calibrated_together():
    predictions = said(
        UNITS, [({"1": True, "12": False}, {"1": True, "12": True})], probabilities={"1": 0.9, "12": 0.7}
    )
    calibration = task_figures(UNITS, predictions)["calibration"]
    assert calibration["n"] == 2
    assert calibration["metrics"]["ece"]["value"] == pytest.approx((0.1 + 0.7) / 2)


def test_the_mean_of_attributes_draws_faces_with_all_their_answers():
    names = [f"attribute {number}" for number in range(10)]
    tasks = {name: (TaskSpec(name, "binary"), []) for name in names}
    for spec, predictions in tasks.values():
        predictions += half_right(spec, "yes", "no", 100)
    found = mean_figures(tasks)
    alone = task_figures(*tasks[names[0]])
    assert (found["n"], found["faces"], found["tasks"]) == (1000, 100, names)
    assert found["metrics"]["accuracy"]["value"] == 0.5
    # Ten answers that are right or wrong together say no more than one.
    low, high = found["metrics"]["accuracy"]["interval"]
    assert high - low == pytest.approx(
        alone["metrics"]["accuracy"]["interval"][1] - alone["metrics"]["accuracy"]["interval"][0], rel=0.1
    )


def test_what_could_not_be_read_stands_beside_the_mean_of_attributes():
    asked = {"smiling": (SMILING, said(SMILING, [("yes", None), ("no", "no")], way="generation"))}
    assert mean_figures(asked)["unparsed"] == {"count": 1, "rate": 0.5}


def test_ages_have_no_mean_with_attributes():
    with pytest.raises(ValueError, match=r"'age'.*'number'.*closed options"):
        mean_figures({"age": (AGE, [])})


def test_groups_stand_in_natural_order_with_their_figures():
    predictions = [
        row
        for group in ("10-19", "more than 70", "3-9")
        for row in half_right(SMILING, "yes", "no", 40, id=group, age_group=group)
    ]
    by_age = group_figures(SMILING, predictions)["by"]["age_group"]
    assert list(by_age) == ["3-9", "10-19", "more than 70"]
    alone = task_figures(SMILING, [row for row in predictions if row.groups["age_group"] == "3-9"])
    assert by_age["3-9"]["value"] == alone["metrics"]["accuracy"]["value"] == 0.5
    assert by_age["3-9"]["interval"] == pytest.approx(alone["metrics"]["accuracy"]["interval"], abs=0.05)


def test_a_small_group_is_shown_but_is_neither_worst_nor_part_of_the_gap():
    predictions = (
        all_right(SMILING, "yes", 40, "a", gender="female")
        + half_right(SMILING, "yes", "no", 40, "b", gender="male")
        + said(SMILING, [("yes", "no")] * 29, groups={"gender": "unknown"})
    )
    found = group_figures(SMILING, predictions)
    assert found["by"]["gender"]["unknown"]["small"]
    assert found["by"]["gender"]["unknown"]["value"] == 0.0
    assert found["worst"]["groups"] == {"gender": "male"}
    assert (found["gap"]["gender"]["value"], found["gap"]["gender"]["groups"]) == (0.5, 2)
    everyone = group_figures(SMILING, predictions, minimum=1)
    assert everyone["worst"]["groups"] == {"gender": "unknown"}


def test_the_worst_group_by_an_error_is_that_with_the_largest():
    near, far = (
        [Prediction(f"{by}{face}", "age", "scoring", 9.0, 9.0 + by, groups={"gender": name}) for face in range(30)]
        for by, name in ((1, "female"), (5, "male"))
    )
    found = group_figures(AGE, near + far)
    assert (found["metric"], found["higher_is_better"]) == ("mae", False)
    assert found["worst"]["groups"] == {"gender": "male"}


def test_intersections_are_of_every_two_labels_and_of_all():
    predictions = [
        row
        for gender in ("female", "male")
        for race in ("black", "white")
        for row in half_right(SMILING, "yes", "no", 40, gender + race, gender=gender, race=race, age_group="20-29")
    ]
    predictions += half_right(SMILING, "yes", "no", 40, "no race", gender="female", age_group="20-29")
    found = group_figures(SMILING, predictions)
    sizes = [len(entry["groups"]) for entry in found["intersections"]]
    assert sizes == [2] * (2 + 2 + 4) + [3] * 4
    assert list(found["gap"]) == [
        "age_group",
        "gender",
        "race",
        "age_group × gender",
        "age_group × race",
        "gender × race",
        "age_group × gender × race",
    ]
    by_two = {tuple(entry["groups"].values()): entry["n"] for entry in found["intersections"]}
    # Who has no race label is in no group of it, and still in those of the others.
    assert (by_two["20-29", "female"], by_two["female", "black"]) == (120, 40)


def test_the_worst_intersection_is_one_of_two_labels_where_those_of_three_are_small():
    predictions = [
        row
        for race in ("asian", "black", "white")
        for gender, wrong in (("female", "no"), ("male", "yes"))
        for row in half_right(SMILING, "yes", wrong, 20, race + gender, race=race, gender=gender, age_group="3-9")
    ]
    found = group_figures(SMILING, predictions)
    assert all(entry["small"] == (len(entry["groups"]) == 3 or entry["n"] == 20) for entry in found["intersections"])
    assert found["worst_intersection"]["groups"] == {"age_group": "3-9", "gender": "female"}
    assert found["worst_intersection"]["n"] == 60


def test_one_group_alone_has_no_gap():
    found = group_figures(SMILING, half_right(SMILING, "yes", "no", 40, gender="female"))
    assert found["gap"] == {"gender": None}
    assert found["worst_intersection"] is None


def test_groups_that_nobody_asked_for_are_not_shown():
    predictions = half_right(SMILING, "yes", "no", 40, gender="female", race="black")
    assert list(group_figures(SMILING, predictions, ("gender",))["by"]) == ["gender"]


def test_a_group_of_which_too_few_answers_were_read_is_small():
    read = [Prediction(f"r{face}", "age", "scoring", 9.0, 10.0, groups={"gender": "female"}) for face in range(30)]
    unread = [
        Prediction(f"u{face}", "age", "scoring", 9.0, None if face else 19.0, groups={"gender": "male"})
        for face in range(30)
    ]
    found = group_figures(AGE, read + unread)
    assert found["by"]["gender"]["male"] == {"value": 10.0, "interval": None, "n": 1, "faces": 30, "small": True}
    assert found["worst"]["groups"] == {"gender": "female"}


def test_frames_of_one_person_are_drawn_together_where_predictions_say_whose_they_are():
    frames = [
        Prediction(f"{person}/{frame}", "smiling", "scoring", "yes", "yes" if person % 2 else "no", extra=extra)
        for person in range(20)
        for frame in range(50)
        for extra in ({"person": str(person)},)
    ]
    alone = [Prediction(row.id, row.task, row.way, row.expected, row.predicted) for row in frames]
    of_people, of_frames = task_figures(SMILING, frames), task_figures(SMILING, alone)
    assert (of_people["faces"], of_people["people"], of_frames["people"]) == (1000, 20, None)
    low, high = of_people["metrics"]["accuracy"]["interval"]
    assert high - low > 5 * (of_frames["metrics"]["accuracy"]["interval"][1] - 0.5)
