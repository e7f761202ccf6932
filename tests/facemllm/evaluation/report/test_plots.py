"""The plots of a report: nothing is cut off, every number stands beside its n, and rows are shares of their own."""

import pytest

from facemllm.evaluation.figures.task_figures import group_figures, task_figures
from facemllm.evaluation.predictions import Prediction, TaskSpec
from facemllm.evaluation.report import plots

EXPRESSION = TaskSpec("expression", "options", ("happiness", "a rather long name of an expression", "anger"))


def predictions(count=60):
    for face in range(count):
        truth, said = (EXPRESSION.options[place % 3] for place in (face, face * face))
        scored = {option: 0.8 if option == said else 0.1 for option in EXPRESSION.options}
        groups = {"gender": "female" if face % 2 else "male", "race": "Southeast Asian" if face % 7 else "White"}
        yield Prediction(f"f{face}", "expression", "scoring", truth, None if face == 3 else said, scored, None, groups)


@pytest.fixture(scope="module")
def figures():
    told = task_figures(EXPRESSION, predictions(), resamples=50)
    return told | {"groups": group_figures(EXPRESSION, predictions(), ("gender", "race"), resamples=50)}


@pytest.fixture(params=["confusion", "calibration", "groups"])
def drawn(request, figures):
    return getattr(plots, request.param)(figures, "Expression, options scored\nFaces, test")


def test_no_word_is_cut_off_or_too_small(drawn):
    drawn.canvas.draw()
    width, height = drawn.canvas.get_width_height()
    box = drawn.get_tightbbox().transformed(drawn.dpi_scale_trans)
    assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
    assert all(text.get_fontsize() >= 7 for axes in drawn.axes for text in [*axes.texts, *axes.get_xticklabels()])


def test_a_confusion_matrix_shows_each_row_as_shares_of_its_own_faces_with_counts(figures):
    axes = plots.confusion(figures, "").axes[0]
    assert axes.images[0].get_array().sum(1).tolist() == pytest.approx([1, 1, 1])
    assert axes.get_yticklabels()[0].get_text() == "happiness  (n = 20)"
    assert axes.get_xticklabels()[-1].get_text() == "unread"
    assert "5 %\n1" in [text.get_text() for text in axes.texts]


def test_a_reliability_diagram_says_how_many_faces_stand_behind_it(figures):
    above, below = plots.calibration(figures, "").axes
    assert "n = 60" in above.texts[0].get_text() and " 60" in [text.get_text() for text in below.texts]


def test_small_groups_are_hollow_and_every_group_shows_its_n(figures):
    axes = plots.groups(figures, "").axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert "White  (n = 9)" in labels and "female, White  (n = 4)" in labels
    hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert len(hollow) == sum(entry["small"] for entry in _shown(figures["groups"]))


def _shown(groups):
    return [entry for by in groups["by"].values() for entry in by.values()] + groups["intersections"]
