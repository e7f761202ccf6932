"""What a model wrote counts where it can be read safely, and is unparsed where it cannot."""

import pytest

from facemllm.evaluation.answer_parsing import parse_angles, parse_option, parse_units, parse_years

GENDERS = ("female", "male")
YAW = ("far to the right", "to the right", "to the front", "to the left", "far to the left")
UNITS = {1: "inner brow raiser", 6: "cheek raiser", 12: "lip corner puller"}


@pytest.mark.parametrize(
    ("text", "options", "read"),
    [
        ("female", GENDERS, ("female", "exact")),
        ("Female.", GENDERS, ("female", "exact")),
        ("This person is female.", GENDERS, ("female", "mention")),
        ("far to the left", YAW, ("far to the left", "exact")),
        ("The head is turned far to the left.", YAW, ("far to the left", "mention")),
        ("Answer: 30-39", ("3-9", "30-39"), ("30-39", "mention")),
        ("Yes, the person is smiling.", ("yes", "no"), ("yes", "mention")),
        ("No. There is no beard.", ("yes", "no"), ("no", "mention")),
    ],
)
def test_an_option_is_the_whole_text_or_its_only_mention(text, options, read):
    assert parse_option(text, options) == read


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", GENDERS),
        ("a woman", GENDERS),
        ("female or male", GENDERS),
        ("not male", GENDERS),
        ("The person isn't female.", GENDERS),
        ("malevolent", GENDERS),
        ("I say yes", ("yes", "no")),
        ("130-39", ("3-9", "30-39")),
    ],
)
def test_what_names_no_option_two_or_a_denied_one_is_not_read(text, options):
    assert parse_option(text, options) is None


def test_an_age_is_the_only_number_of_the_text():
    assert parse_years("31") == 31 and parse_years("This person is 31 years old.") == 31
    assert parse_years("25-30") is None and parse_years("25 or 30") is None
    assert parse_years("thirty") is None and parse_years("1987") is None


def test_angles_are_read_by_their_names():
    names = ("yaw", "pitch", "roll")
    assert parse_angles("yaw -23, pitch 12, roll 3", names) == {"yaw": -23, "pitch": 12, "roll": 3}
    assert parse_angles("Roll: 3.5°, Yaw = −23, pitch is 12", names) == {"yaw": -23, "pitch": 12, "roll": 3.5}
    assert parse_angles("yaw -23, pitch 12", names) is None
    assert parse_angles("yaw 1 or yaw 2, pitch 12, roll 3", names) is None


def test_units_are_listed_by_number_or_name():
    assert parse_units("AU6 cheek raiser, AU12 lip corner puller", UNITS) == {6, 12}
    assert parse_units("the inner brow raiser", UNITS) == {1}
    assert parse_units("None.", UNITS) == set()
    assert parse_units("AU25 lips part", UNITS) is None  # not asked about, and nothing else listed
    assert parse_units("no AU6", UNITS) is None and parse_units("a smile", UNITS) is None
