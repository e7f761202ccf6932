"""Recipes and overrides with damage: a checked recipe, or one line that says what is wrong."""

import pytest
import yaml
from hypothesis import strategies as st

from facemllm_recipes.packaged import RECIPES
from facemllm_recipes.recipe import Recipe, load_recipe
from facemllm_recipes.strict import RecipeError
from tests.robustness.cases import assert_one_line, bounded, examples, failed_before, fuzzed
from tests.robustness.mutations import FRAGMENTS, leaves, mutate_plain, mutated

COST = {"seconds": 5, "mebibytes": 100}
RECIPE = {
    "model": {"base": "owner/name", "trainable": ["projector"], "lora": {"r": 4}, "image_processor": {}},
    "data": [{"path": "owner/corpus", "weight": 1.0, "max_rows": 5}],
    "output_dir": "out",
    "trainer": {"learning_rate": 1e-3, "max_steps": 3, "report_to": []},
    "seed": 3,
    "max_length": 100,
}
FILES = [(RECIPES / "quickstart/stage2_vqa.yaml").read_bytes(), yaml.safe_dump(RECIPE).encode()]
YAML_PIECES = (
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!python/object/apply:os.system [ls]",
    b"!!binary x",
    b"!!set {a, a}",
    b"!!omap [a]",
    b"!!timestamp x",
    b"!!int x",
    b"!!float x",
    b"!!bool x",
    b"!!null x",
    b"2001-99-99",
    b"0x_",
    b"0b_",
    b"1:99:99",
    b"? [a]",
    b"[" * 3000,
    b"{" * 3000,
    b"- " * 3000,
    b"=",
    b"|",
    b"%YAML 9.9\n---\n",
    b"---\n",
    b"~nobody/x",
    b"\\u0000",
)
"""What YAML knows and recipes do not need."""
KEYS = ["model", "model.lora", "data.0.path", "data.1", "data.²", "data.-1", "data", "trainer.optim", "seed"]
keys = st.sampled_from([*KEYS, "a.b.c", ".", "", "data." + "9" * 5000])


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded(tmp_path_factory):
    (tmp_path_factory.getbasetemp() / "recipe.yaml").write_bytes(FILES[1])
    assert isinstance(load_recipe(tmp_path_factory.getbasetemp() / "recipe.yaml", ["model.lora=null"]), Recipe)


def check(folder, content, *overrides):
    (folder / "recipe.yaml").write_bytes(content)
    with bounded("recipes", **COST):
        try:
            recipe = load_recipe(folder / "recipe.yaml", overrides)
        except RecipeError as error:
            assert_one_line(error)
            return
        assert isinstance(recipe.to_dict(), dict)


@fuzzed(content=mutated(FILES, FRAGMENTS + YAML_PIECES))
@examples("content", failed_before("recipes"))
def test_damaged_recipes(tmp_path_factory, content):
    check(tmp_path_factory.getbasetemp(), content)


@st.composite
def hostile_recipes(draw):
    hostile = leaves.map(lambda value: value.replace("\ud800", "") if isinstance(value, str) else value)
    return yaml.safe_dump(mutate_plain(draw, RECIPE, hostile), allow_unicode=True).encode()


@fuzzed(content=hostile_recipes())
def test_hostile_recipes(tmp_path_factory, content):
    check(tmp_path_factory.getbasetemp(), content)


@fuzzed(key=keys | st.text(max_size=10), value=mutated([b"1e-4", b"{a: [1]}", b"text"], FRAGMENTS + YAML_PIECES))
def test_hostile_overrides(tmp_path_factory, key, value):
    check(tmp_path_factory.getbasetemp(), FILES[1], f"{key}={value.decode('utf-8', 'surrogateescape')}")
