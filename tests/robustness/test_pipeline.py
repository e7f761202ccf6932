"""`pipeline("face-analysis")` over damaged files: a row for each, and the good ones beside them as ever."""

import json

import pytest

from modeling_facemllm import FaceAnalysisPipeline
from tests import tiny
from tests.robustness.cases import assert_one_line, bounded, examples, failed_before, fuzzed
from tests.robustness.mutations import hostile_json, mutated
from tests.robustness.test_pictures import FILES, texts

GOOD = FILES[0]
COST = {"seconds": 10, "mebibytes": 400}
"""Two pictures of 12 megapixels, as `docs/analysis.md` allows, beside a tiny model."""


@pytest.fixture(scope="module")
def analyze():
    model, processor = tiny.make_model()
    analyze = FaceAnalysisPipeline(model, processor=processor, device="cpu", detector="none", tasks=["gender"])
    assert analyze([GOOD] * 3)
    return analyze


@pytest.fixture(scope="module")
def expected(analyze):
    return analyze([GOOD])[0]


def check(analyze, expected, hostile):
    with bounded("pipeline", **COST):
        first, found, last = analyze([GOOD, hostile, GOOD], on_error="return")
    for faces in (first, last):
        assert [face["tasks"]["gender"]["label"] for face in faces] == [expected[0]["tasks"]["gender"]["label"]]
    json.dumps(found, allow_nan=False)
    if isinstance(found, dict):
        assert list(found) == ["error"]
        assert_one_line(ValueError(found["error"]))
    else:
        assert len(found) == 1


@fuzzed(content=mutated(FILES))
@examples("content", failed_before("pictures"))
def test_damaged_files(analyze, expected, content):
    check(analyze, expected, content)


@fuzzed(source=texts | hostile_json.filter(lambda value: not isinstance(value, list)))
def test_what_is_no_picture(analyze, expected, source):
    check(analyze, expected, source)
