"""`facemllm train --check` finds in seconds what training would stop at, for corpora that are folders here."""

import json

import pytest
from datasets import Dataset
from PIL import Image

from facemllm.cli import main
from facemllm_recipes.corpora import load_corpus
from facemllm_recipes.corpus_check import check_corpora
from facemllm_recipes.recipe import CorpusRecipe, RecipeError
from tests.recipes.tiny import picture_record, write_corpus


@pytest.fixture
def configured(tmp_path):
    """A corpus with the config vqa and the split train, as `facemllm data` lays it out."""
    write_corpus([picture_record(0)], tmp_path / "configured" / "vqa")
    card = "configs:\n- config_name: vqa\n  data_files:\n  - {split: train, path: vqa/train-*.parquet}\n"
    (tmp_path / "configured" / "README.md").write_text(f"---\n{card}---\n")
    return str(tmp_path / "configured")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": "captions"}, r"data\.0: .*config 'captions', split 'train'"),
        ({"config": "vqa", "split": "test"}, r"data\.0: .*split 'test': .*\btrain\b"),
        ({"config": "vqa", "split": "train[:1]+dev"}, r"data\.0: .*split 'train\[:1\]\+dev': .*\bdev\b"),
    ],
)
def test_a_config_or_split_that_is_not_there_is_refused_as_in_training(make_recipe, configured, changes, message):
    recipe = make_recipe(data=[{"path": configured, **changes}])
    with pytest.raises(RecipeError, match=message):
        check_corpora(recipe)
    with pytest.raises(RecipeError, match=message):
        load_corpus(recipe.data[0], "data.0")


def test_a_part_of_a_split_is_accepted(make_recipe, configured):
    assert check_corpora(make_recipe(data=[{"path": configured, "config": "vqa", "split": "train[:1]"}])) == []


def test_a_folder_of_pictures_is_refused_by_the_check_and_by_training(make_recipe, tmp_path):
    (tmp_path / "raw" / "train").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "raw" / "train" / "1.jpg")
    (tmp_path / "raw" / "labels.csv").write_text("file,age\ntrain/1.jpg,20-29\n")
    corpus = CorpusRecipe(str(tmp_path / "raw"))
    for check in (lambda: check_corpora(make_recipe(data=[vars(corpus)])), lambda: load_corpus(corpus, "data.0")):
        with pytest.raises(RecipeError, match=r"data\.0: .*raw'.*facemllm data"):
            check()


def test_rows_without_conversations_are_refused(make_recipe, tmp_path):
    (tmp_path / "table").mkdir()
    Dataset.from_dict({"file": ["1.jpg"], "age": [20]}).to_parquet(str(tmp_path / "table" / "train.parquet"))
    with pytest.raises(RecipeError, match=r"data\.0: .*table'.*file, age\b.*\bmessages\b"):
        check_corpora(make_recipe(data=[{"path": str(tmp_path / "table")}]))


def test_turns_about_pictures_that_the_rows_do_not_carry_are_refused(make_recipe, tmp_path):
    bare = write_corpus([{**picture_record(i), "image": None, "url": f"{i}.jpg"} for i in range(3)], tmp_path / "bare")
    with pytest.raises(RecipeError, match=r"data\.0: .*\b3 rows\b.*--no-images.*--include-images"):
        check_corpora(make_recipe(data=[{"path": bare}]))


def test_text_without_pictures_is_accepted(make_recipe, texts):
    assert check_corpora(make_recipe(data=[{"path": texts}])) == []


def test_a_corpus_on_the_hub_is_said_to_be_unchecked(make_recipe, pictures):
    recipe = make_recipe(data=[{"path": pictures}], eval_data=[{"path": "owner/corpus"}])
    assert check_corpora(recipe) == [
        "eval_data.0: 'owner/corpus' is no folder here, and the Hub was not asked: not checked"
    ]


def test_a_mistyped_corpus_without_an_owner_is_not_looked_for_on_the_hub(make_recipe):
    with pytest.raises(RecipeError, match=r"data\.0\.path: 'corpsu'.*give a folder .*\(owner/name\)"):
        make_recipe(data=[{"path": "corpsu"}])


def test_the_command_checks_the_corpora_and_prints_the_recipe(towers, configured, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    model = {"base": towers["text"], "trainable": ["projector"]}
    corpora = [{"path": configured, "config": "vqa"}, {"path": "owner/corpus"}]
    recipe.write_text(json.dumps({"model": model, "data": corpora, "output_dir": "runs/x"}))
    assert main(["train", str(recipe), "--check"]) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["data"][0]["config"] == "vqa" and "data.1: 'owner/corpus'" in error
    assert main(["train", str(recipe), "--check", "data.0.split=test"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("facemllm train: data.0: ")
