"""Every dataset from its distributed layout to a folder that another process reads with `load_dataset`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from datasets_scripts.build import build_corpus
from datasets_scripts.questions.attribute_table import EXPRESSIONS
from datasets_scripts.questions.tasks import TASKS
from datasets_scripts.questions.unanswerable import CANNOT_TELL
from datasets_scripts.schema import CorpusError
from datasets_scripts.sources.readers import READERS, configs_of, conventions_of_reader
from facemllm.cli import main
from tests.datasets_scripts.sources.miniatures import WRITERS
from tests.refusals import refuses

REAL = Path(__file__).parents[3] / "shared" / "data" / "fairface"

READ_EVERYTHING = """
import json, sys
from pathlib import Path
from datasets import get_dataset_config_names, load_dataset

found = {}
for corpus in sorted(Path(sys.argv[1]).iterdir()):
    for config in get_dataset_config_names(str(corpus)):
        for split, rows in load_dataset(str(corpus), config, streaming=True).items():
            told = [{"task": row["task"], "texts": [turn["content"][-1]["text"] for turn in row["messages"]],
                     "labels": {name: value for name, value in row["labels"].items() if value is not None},
                     "picture": row["image"].size if row["image"] else None} for row in rows]
            found[f"{corpus.name}/{config}/{split}"] = told
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """All datasets in miniature, built, and what another process read of them, by `NAME/CONFIG/SPLIT`."""
    roots, out = tmp_path_factory.mktemp("datasets"), tmp_path_factory.mktemp("corpora")
    for name, write in WRITERS.items():
        (roots / name).mkdir()
        write(roots / name)
        build_corpus(name, roots / name, out / name, progress=False)
    command = [sys.executable, "-c", READ_EVERYTHING, str(out)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path_factory.mktemp("elsewhere"))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_there_is_a_miniature_of_every_dataset():
    assert set(WRITERS) == set(READERS)


@pytest.mark.parametrize("name", READERS)
def test_another_process_reads_every_config_and_split(name, corpora):
    expected = {f"{name}/{config}/{split}" for config in configs_of(READERS[name]) for split in READERS[name].SPLITS}
    read = {place: rows for place, rows in corpora.items() if place.startswith(f"{name}/")}
    assert set(read) == expected
    for rows in read.values():
        assert rows and all(row["picture"] and len(row["texts"]) % 2 == 0 for row in rows)


@pytest.mark.parametrize("name", READERS)
def test_no_dataset_tells_a_race_unasked(name, corpora):
    for place, rows in corpora.items():
        if place.startswith(f"{name}/"):
            assert all("race" not in row["labels"] and "race label" not in str(row["texts"]) for row in rows)


def test_contempt_is_an_option_only_where_the_source_has_it(corpora):
    for name, options in (("affectnet", EXPRESSIONS), ("raf_db", EXPRESSIONS[:-1])):
        told = [text for row in corpora[f"{name}/face_tasks/train"] for text in row["texts"] if "anger" in text]
        stated = [text for text in told if "happiness" in text]
        assert stated and all(all(option in text for option in options) for text in stated)
        assert any("contempt" in text for text in stated) == (name == "affectnet")


def test_zero_shot_rows_have_labels_of_their_side_alone(corpora):
    train, test = (corpora[f"celeba/zero_shot/{split}"] for split in ("train", "test"))
    names = [{entry["name"] for row in rows for entry in row["labels"]["attributes"]} for rows in (train, test)]
    assert "bald" in names[0] and "goatee" in names[1] and not names[0] & names[1]
    assert all(set(row["labels"]) == {"attributes"} for row in [*train, *test])


def test_a_card_says_whose_the_dataset_is_and_who_may_hold_it(tmp_path):
    (tmp_path / "celeba").mkdir()
    WRITERS["celeba"](tmp_path / "celeba")
    build_corpus("celeba", tmp_path / "celeba", tmp_path / "out", configs=["vqa", "zero_shot"], progress=False)
    card = (tmp_path / "out" / "README.md").read_text()
    for told in ("[CelebA](https://mmlab", "(Liu et al., ICCV 2015)", READERS["celeba"].TERMS, "`zero_shot`"):
        assert told in card


def test_race_is_asked_about_where_a_dataset_has_it_and_refused_elsewhere(tmp_path):
    (tmp_path / "utk").mkdir()
    WRITERS["utkface"](tmp_path / "utk")
    tasks = ["gender", "race"]
    report = build_corpus("utkface", tmp_path / "utk", tmp_path / "out", tasks=tasks, configs=["vqa"], progress=False)
    assert "race" in report["labels"]
    with refuses("tasks", "race", "RAF-DB has no race labels"):
        build_corpus("raf_db", tmp_path, tmp_path / "other", tasks=["race"])


def test_presence_of_an_action_unit_begins_where_the_source_says(tmp_path):
    for name in ("disfa", "bp4d"):
        (tmp_path / name).mkdir()
        WRITERS[name](tmp_path / name)
    disfa, bp4d = (READERS[name](str(tmp_path / name), "train") for name in ("disfa", "bp4d"))
    intensities = READERS["bp4d"](str(tmp_path / "bp4d"), "train", coding="intensity")
    levels = [conventions_of_reader(reader).present_from for reader in (disfa, bp4d, intensities)]
    assert levels == [2, 1, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "imdb"}, r"'imdb'.*300w_lp, affectnet"),
        ({"tasks": ["expresion"]}, r"tasks='expresion'.*\bexpression\b"),
        ({"root": "nowhere"}, r"nowhere.*folder of RAF-DB"),
    ],
)
def test_a_mistake_is_told_with_what_there_is(settings, message, tmp_path):
    (tmp_path / "raf").mkdir()
    WRITERS["raf_db"](tmp_path / "raf")
    settings = {"name": "raf_db", "root": tmp_path / "raf", **settings}
    with pytest.raises(CorpusError, match=message):
        build_corpus(**settings, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "argument", "value", "remedy"),
    [
        ({"configs": ["zero_shot"]}, "config", "zero_shot", "captions, vqa, face_tasks"),
        ({"splits": ["validation"]}, "split", "validation", "train, test"),
        ({"options": {"alined": True}}, "option", "alined", "aligned"),
        ({"turns": 0}, "turns", 0, "1 or more"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_there_is(settings, argument, value, remedy, tmp_path):
    (tmp_path / "raf").mkdir()
    WRITERS["raf_db"](tmp_path / "raf")
    with refuses(argument, value, remedy):
        build_corpus("raf_db", tmp_path / "raf", tmp_path / "out", **settings)


@pytest.fixture
def celeba(tmp_path):
    (tmp_path / "celeba").mkdir()
    WRITERS["celeba"](tmp_path / "celeba")
    return tmp_path / "celeba"


def test_zero_shot_asks_the_named_tasks_of_each_side(celeba, tmp_path):
    tasks = ["bald", "goatee", "gender"]
    build_corpus("celeba", celeba, tmp_path / "out", tasks=tasks, configs=["zero_shot"], progress=False)
    from datasets import load_dataset

    rows = load_dataset(str(tmp_path / "out"), "zero_shot", cache_dir=str(tmp_path / "cache"))
    assert set(rows["train"]["task"]) == {"bald"} and set(rows["test"]["task"]) == {"goatee"}


def test_zero_shot_is_left_out_where_no_named_task_is_on_a_side_and_refused_by_name(celeba, tmp_path):
    report = build_corpus("celeba", celeba, tmp_path / "out", tasks=["bald"], progress=False)
    assert list(report["configs"]) == ["captions", "vqa", "face_tasks"]
    with refuses("config", "zero_shot", "bald", "validation", "name one, or leave the config out"):
        build_corpus("celeba", celeba, tmp_path / "named", tasks=["bald"], configs=["zero_shot"])


@pytest.mark.parametrize(
    ("out", "remedy"),
    [
        ("celeba", ["own folder", "give another"]),
        ("celeba/../celeba/corpus", ["inside", "give a folder apart"]),
        (".", ["holds", "give a folder apart"]),
    ],
)
def test_a_corpus_and_its_dataset_have_folders_apart(out, remedy, celeba, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with refuses("out", str(tmp_path / out), *remedy):
        build_corpus("celeba", celeba, tmp_path / out, progress=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_split_that_nobody_falls_into_is_told_with_the_splits_to_build(tmp_path):
    from tests.datasets_scripts.sources import test_morph

    test_morph.write(tmp_path, *({"picture_num": f"{number}"} for number in range(3)))
    with pytest.raises(CorpusError, match=r"(train|validation|test)\b.*MORPH-II.*--split (train|validation|test)\b"):
        build_corpus("morph", tmp_path, tmp_path.with_name("out"), progress=False)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_every_task_of_a_dataset_is_in_the_table(reader):
    assert reader.TASKS and all(task in TASKS or task == "attributes" for task in reader.TASKS)
    assert "race" not in reader.TASKS


@pytest.mark.skipif(not REAL.is_dir(), reason=f"FairFace's files are not at {REAL}")
def test_the_real_fairface_is_asked_about_age_and_gender(tmp_path):
    build_corpus("fairface", REAL, tmp_path, configs=["face_tasks"], splits=["validation"], limit=20, progress=False)
    from datasets import load_dataset

    rows = load_dataset(str(tmp_path), "face_tasks", split="validation", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 20 and set(rows["task"]) == {"attributes"}
    assert {len(turns) for turns in rows["messages"]} == {4}


def test_unanswerable_questions_are_in_the_card_and_the_same_from_several_processes(tmp_path, capsys):
    (tmp_path / "fairface").mkdir()
    WRITERS["fairface"](tmp_path / "fairface")
    words = ["data", "fairface", str(tmp_path / "fairface"), "--config", "vqa", "face_tasks", "--unanswerable", "0.5"]
    for processes in ("1", "2"):
        out = str(tmp_path / processes)
        assert main([*words, "--num-proc", processes, "--shard-rows", "1", "--out", out]) == 0
    files = [
        {file.relative_to(tmp_path / out): file.read_bytes() for file in (tmp_path / out).rglob("*.parquet")}
        for out in ("1", "2")
    ]
    assert files[0] == files[1] and files[0]
    card = (tmp_path / "1" / "README.md").read_text()
    assert "50 % of the questions" in card and CANNOT_TELL[0] in card and "--unanswerable 0.5" in card
    assert json.loads((tmp_path / "1" / "corpus.json").read_text())["settings"]["sources"]["vqa"]["train"][
        "unanswerable"
    ] == 0.5  # fmt: skip


def test_a_card_says_nothing_of_unanswerable_questions_where_there_are_none(tmp_path):
    (tmp_path / "fairface").mkdir()
    WRITERS["fairface"](tmp_path / "fairface")
    build_corpus("fairface", tmp_path / "fairface", tmp_path / "out", configs=["vqa"], progress=False)
    assert "can't tell" not in (tmp_path / "out" / "README.md").read_text()
