"""The report of an evaluation: what is in it, from predictions whose figures are known."""

import json
from dataclasses import replace

import pytest

from facemllm.cli import UserError
from facemllm.evaluation.predictions import Prediction, PredictionLog, TaskSpec
from facemllm.evaluation.report.report import write_report

GENDER = TaskSpec("gender", "options", ("male", "female"))
AGE = TaskSpec("age_years", "number", bins={"0-19": (0, 20), "20 or more": (20, 120)})
POSE = TaskSpec("head_pose", "angles")
UNITS = TaskSpec("action_units", "units", ("1", "12"))
SMILING, HAT = TaskSpec("attributes.smiling", "binary"), TaskSpec("attributes.hat", "binary")


def groups_of(face):
    return {"gender": "female" if face % 2 else "male", "age_group": "20-29" if face % 4 < 2 else "3-9"}


def gender(face, way="scoring"):
    """80 of 100 right: all women, and three of five men; two answers of a model that writes cannot be read."""
    truth = groups_of(face)["gender"]
    said = "female" if truth == "male" and face % 5 in (0, 1) else truth
    scored = {"male": 0.9, "female": 0.1} if said == "male" else {"male": 0.1, "female": 0.9}
    said = None if way == "generation" and face < 2 else said
    return Prediction(
        f"f{face}", "gender", way, truth, said, scored if way == "scoring" else None, None, groups_of(face)
    )


def of_every_kind(face):
    """One prediction of each other kind of task."""
    yes = "yes" if face % 3 else "no"
    pose = {"yaw": float(face), "pitch": 0.0, "roll": 0.0}
    return [
        Prediction(f"f{face}", "age_years", "scoring", float(face), float(face + 4), None, None, groups_of(face)),
        Prediction(f"f{face}", "head_pose", "scoring", pose, {**pose, "yaw": face + 6.0}, groups=groups_of(face)),
        Prediction(f"f{face}", "action_units", "scoring", {"1": True, "12": bool(face % 2)}, {"1": True, "12": True}),
        Prediction(f"f{face}", SMILING.name, "scoring", yes, yes, {"yes": 0.5, "no": 0.5}, None, groups_of(face)),
        Prediction(f"f{face}", HAT.name, "scoring", yes, "yes", {"yes": 0.7, "no": 0.3}, None, groups_of(face)),
    ]


@pytest.fixture
def report(tmp_path):
    """Write predictions and their report; what report.json, report.md and plots/ then hold."""

    def write(specs, predictions, torn=b"", **told):
        run = {
            "status": "complete",
            "benchmark": "faces",
            "title": "Faces",
            "protocol": "Every face, whole.",
            "settings": {"model": "a-model", "split": "test"},
            "tasks": [spec.as_json() for spec in specs],
            "groups": ["age_group", "gender"],
            "counts": {"faces": 100, "unreadable": {"unreadable image": 3}, "left_out": {}, "unlabelled": 0},
        }
        (tmp_path / "run.json").write_text(json.dumps(run | told))
        with PredictionLog(tmp_path / "predictions.jsonl") as log:
            log.append(predictions)
        with open(tmp_path / "predictions.jsonl", "ab") as file:
            file.write(torn)
        write_report(tmp_path, resamples=50, progress=False)
        plots = {path.name for path in (tmp_path / "plots").iterdir()}
        return json.loads((tmp_path / "report.json").read_text()), (tmp_path / "report.md").read_text(), plots

    return write


def test_the_figures_of_both_ways_stand_apart_with_interval_n_and_baseline(report):
    asked = [gender(face, way) for way in ("scoring", "generation") for face in range(100)]
    figures, text, _ = report([GENDER], asked, majority={"gender": "male"})
    scored, generated = (figures["tasks"]["gender"][way] for way in ("scoring", "generation"))
    assert scored["metrics"]["accuracy"]["value"] == pytest.approx(0.8)
    assert generated["unparsed"] == {"count": 2, "rate": 0.02}
    assert "| Gender | options scored | accuracy | 80.0 % [" in text and "| 100 | 50.0 % (always “male”) | – |" in text
    assert "| Gender | generated | accuracy | 79.0 % [" in text and "| 2.0 % (2) |" in text
    assert "unreadable image: 3" in text and "Every face, whole." in text


def test_groups_are_told_with_the_worst_of_them_their_gap_and_what_chance_would_make(report):
    figures, text, plots = report([GENDER], [gender(face) for face in range(100)])
    groups = figures["tasks"]["gender"]["scoring"]["groups"]
    assert groups["by"]["gender"]["male"]["value"] == pytest.approx(0.6) and groups["by"]["gender"]["male"]["n"] == 50
    assert groups["worst"]["groups"] == {"gender": "male"} and groups["gap"]["gender"]["value"] == pytest.approx(0.4)
    assert "| male | 60.0 % [" in text and "Worst group: gender male, 60.0 %" in text
    assert "| gender | **40.0 points [" in text and "(2 groups; chance: mean " in text
    assert "those with fewer than 30 faces are marked as small" in text
    assert "4 more intersections have fewer than 30 faces" in text
    assert "groups-gender-scoring.png" in plots


def test_the_worst_intersections_are_told_whatever_number_of_labels_makes_them(report):
    asked = [gender(face) for face in range(100)]
    asked = [
        replace(entry, groups=entry.groups | {"race": ("black", "white")[face % 3 > 0]})
        for face, entry in enumerate(asked)
    ]
    _, text, _ = report([GENDER], asked, groups=["age_group", "gender", "race"])
    assert "Worst intersection: gender male, race white, " in text
    assert "| – | male | white | " in text and "| 20-29 | – | white | " in text


def test_groups_have_the_words_of_the_options_and_keep_their_labels_in_json(report):
    asked = [
        replace(gender(face), groups={"race": "Latino_Hispanic", "age_group": "more than 70"}) for face in range(40)
    ]
    figures, text, _ = report([GENDER], asked, groups=["age_group", "race"])
    assert set(figures["tasks"]["gender"]["scoring"]["groups"]["by"]["race"]) == {"Latino_Hispanic"}
    assert (
        "| Latino or Hispanic | " in text and "Worst intersection: age group 70 or older, race Latino or Hisp" in text
    )
    assert "Latino_Hispanic" not in text and "more than 70" not in text


def test_every_kind_of_task_has_its_figures_and_plots(report):
    asked = [prediction for face in range(60) for prediction in of_every_kind(face)]
    figures, text, plots = report([AGE, POSE, UNITS, SMILING, HAT], asked)
    metrics = {task: ways["scoring"]["metrics"] for task, ways in figures["tasks"].items()}
    assert metrics["age_years"]["mae"]["value"] == pytest.approx(4) and metrics["age_years"]["cs@3"]["value"] == 0
    assert metrics["head_pose"]["mae"]["value"] == pytest.approx(2)
    assert metrics["action_units"]["f1"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    assert figures["means"]["scoring"]["metrics"]["accuracy"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    assert "| Age in years | options scored | MAE, years | 4.00" in text
    assert "| 2 attributes, mean | options scored | accuracy | 83.3 %" in text
    assert {"errors-age_years-scoring.png", "errors-head_pose-scoring.png", "units-action_units-scoring.png"} <= plots
    assert {"attributes-scoring.png", "attribute_gaps-scoring.png"} <= plots
    assert not any("smiling" in name for name in plots)  # one plot for all attributes
    assert all(f"plots/{name}" in text for name in plots)


def test_a_report_written_again_leaves_nothing_of_the_one_before(report, tmp_path):
    report([GENDER], [gender(face) for face in range(40)])
    (tmp_path / "plots" / "confusion-earlier-scoring.png").write_bytes(b"old")
    _, _, plots = report([GENDER], [gender(face) for face in range(40, 60)])
    assert plots == {f"{kind}-gender-scoring.png" for kind in ("confusion", "calibration", "groups")}
    assert {path.name for path in tmp_path.iterdir()} == {
        "plots", "predictions.jsonl", "report.html", "report.json", "report.md", "run.json",
    }  # fmt: skip


def test_the_law_is_told_where_race_or_expressions_are(report):
    expression = TaskSpec("expression", "options", ("happiness", "anger"))
    asked = [Prediction(f"f{face}", "expression", "scoring", "anger", "anger") for face in range(5)]
    _, text, _ = report([expression], asked, groups=[])
    assert "not what a person feels" in text and "Race is a label" not in text
    _, text, _ = report(
        [GENDER],
        [gender(face) for face in range(5)],
        groups=["race"],
        tasks=[GENDER.as_json(), expression.as_json()],
    )
    assert "Race is a label for auditing" in text


def test_a_report_on_drawn_faces_claims_nothing_of_people(report):
    _, text, _ = report([GENDER], [gender(face) for face in range(5)], people=False, groups=[])
    assert "Drawn faces only" in text and "other people's guesses" not in text


def test_an_interrupted_run_says_so_and_reports_what_there_is(report):
    asked = [gender(face) for face in range(30)]
    figures, text, _ = report([GENDER], asked, torn=b'{"id": "f31", "task": "gen', status="running", groups=[])
    assert figures["tasks"]["gender"]["scoring"]["n"] == 30 and not figures["complete"]
    assert "**Not complete:**" in text


def test_a_folder_that_holds_no_evaluation_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"run\.json\b.*facemllm evaluate --out"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"tasks": [GENDER.as_json()], "settings": {}, "status": "running"}))
    with pytest.raises(UserError, match=r"predictions\.jsonl\b.*run facemllm evaluate --out"):
        write_report(tmp_path)
    (tmp_path / "predictions.jsonl").write_text("")
    with pytest.raises(UserError, match=r"predictions\.jsonl\b.*run facemllm evaluate to the end"):
        write_report(tmp_path)


BAIT = '<script>x</script> [a](javascript:b) ![c](http://d/e.png) `f` | **g** $h$ \x1b[31m\n# "i"'


def hostile(face):
    truth = BAIT if face % 2 else "other"
    groups = {"gender": truth, "age_group": f"{BAIT}{face % 3}"}
    return Prediction(f"f{face}{BAIT}", f"../{BAIT}", "scoring", truth, truth, {BAIT: 0.5, "other": 0.5}, None, groups)


def test_names_labels_and_options_are_data_in_the_report(report, tmp_path):
    from html.parser import HTMLParser

    from markdown_it import MarkdownIt

    told = {"title": BAIT, "protocol": BAIT, "command": f"facemllm {BAIT}", "benchmark": "c"}
    told |= {"settings": {"model": BAIT, "split": BAIT}, "counts": {"faces": 1, "unreadable": {BAIT: 1}}}
    spec = TaskSpec(f"../{BAIT}", "options", (BAIT, "other"))
    _, text, plots = report([spec], [hostile(face) for face in range(60)], **told)
    shown = MarkdownIt("commonmark").enable("table").render(text)
    tags: dict[str, list] = {}

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.setdefault(tag, []).append(dict(attributes))

    for html in (shown, (tmp_path / "report.html").read_text()):
        tags.clear()
        Tags().feed(html)
        assert not {"script", "a"} & tags.keys() and len(tags["h1"]) == 1
        assert {picture["src"].split("/")[0] for picture in tags["img"]} <= {"plots", "data:image"}
        assert "\x1b" not in html
    assert shown.count("<tr>") == text.count("\n|") - text.count("\n|---")
    assert len(plots) >= 2 and all("/" not in name for name in plots)
