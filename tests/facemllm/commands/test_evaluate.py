"""`facemllm evaluate`: benchmarks and corpora asked of a model that is a folder, and what a user is told."""

import json
import re
import shutil
from functools import partial

import pytest

from facemllm.cli import UserError, main
from facemllm.evaluation.benchmarks import Wanted
from facemllm.evaluation.corpus_benchmark import label_values, open_corpus
from facemllm.evaluation.task_protocols import taught_age
from facemllm.inference.hub_names import hub_commit
from tests.datasets_scripts.sources.miniatures import WRITERS

AGES = ("20-29", "30-39", "more than 70")
CPU = ("--device", "cpu")


def write_labelled(out, counts, **options):
    from datasets_scripts.corpus.writing import write_corpus
    from datasets_scripts.schema import assistant_turn, make_record, user_turn
    from datasets_scripts.synthetic.faces import draw_face, sample_labels

    def records(split, count):
        for index in range(count):
            yield make_record(
                id=f"{split}/{index}",
                image=draw_face(sample_labels(index, 0, "test"), index, 0, "test"),
                messages=[user_turn("How old?", image=True), assistant_turn(AGES[index % 3])],
                task="age",
                labels={"age_group": AGES[index % 3], "gender": "female" if index % 4 else None},
                split=split,
                url=f"{index}.jpg",
                source="test",
                license="cc0-1.0",
            )

    write_corpus(
        {"face_tasks": {split: partial(records, split, count) for split, count in counts.items()}},
        out,
        name="labelled",
        license="cc0-1.0",
        description="Test.",
        people=False,
        progress=False,
        **options,
    )
    return out


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Drawn faces with made-up labels, as `facemllm data` would leave a labelled corpus."""
    return write_labelled(tmp_path_factory.mktemp("labelled") / "corpus", {"train": 9, "validation": 6})


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [
        ("zero_shot", "train", "has no config zero_shot, only face_tasks; choose with --config"),
        ("face_tasks", "test", "has no split test, only train, validation; choose with --split"),
    ],
)
def test_a_config_or_split_that_a_corpus_does_not_have_is_named_with_those_it_has(config, split, message, corpus):
    with pytest.raises(UserError, match=message):
        open_corpus(str(corpus), config, Wanted(split=split))


@pytest.fixture
def fairface(tmp_path):
    (tmp_path / "FairFace").mkdir()
    WRITERS["fairface"](tmp_path / "FairFace")
    return tmp_path / "FairFace"


def evaluate(*words):
    return main(["evaluate", *map(str, words)])


def last_line(*words, capsys):
    assert evaluate(*words) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def evaluated(corpus, tiny_model, tmp_path_factory):
    """The folder that an evaluation of the corpus wrote."""
    out = tmp_path_factory.mktemp("evaluated")
    assert evaluate(tiny_model, corpus, *CPU, "--out", out) == 0
    return out


def test_a_corpus_is_evaluated_from_its_folder_with_groups_and_the_training_splits_baseline(evaluated):
    report = json.loads((evaluated / "report.json").read_text())
    age, gender = (report["tasks"][task]["scoring"] for task in ("age", "gender"))
    assert age["n"] == 6 and gender["n"] == 4  # two of the six faces have no gender label
    assert set(age["groups"]["by"]["age_group"]) == set(AGES)
    assert age["baseline"]["answer"] == "20-29" and age["baseline"]["source"] == "training split"
    run = json.loads((evaluated / "run.json").read_text())
    assert (run["status"], run["answerer"]["dtype"], run["answerer"]["device"]) == ("complete", "float32", "cpu")


def test_the_report_is_written_again_from_the_predictions_alone(evaluated, tmp_path, capsys):
    out = shutil.copytree(evaluated, tmp_path / "out", ignore=shutil.ignore_patterns("report.*", "plots"))
    assert evaluate("--rescore", "--out", out, "--json") == 0
    assert (out / "report.json").read_text() == (evaluated / "report.json").read_text()
    assert json.loads(capsys.readouterr().out) == json.loads((out / "report.json").read_text())


@pytest.mark.parametrize(
    "words",
    [["--ways", "generation"], ["--tasks", "age"], ["--limit", "3"], ["--no-race"], ["--set", "fold=2"], ["MODEL"]],
)
def test_what_would_choose_what_is_asked_is_refused_where_nothing_is(words, tmp_path, capsys):
    told = last_line("--rescore", "--out", tmp_path, *words, capsys=capsys)
    assert re.search(f"{words[0]} .*--rescore.*leave it out", told)


def test_other_settings_for_the_same_folder_are_one_line_and_exit_code_2(corpus, tiny_model, evaluated, capsys):
    told = last_line(tiny_model, corpus, *CPU, "--tasks", "age", "--out", evaluated, capsys=capsys)
    assert re.search(r"tasks: \['gender', 'age'\].*\['age'\].*another --out", told)


def test_a_folder_of_other_things_is_not_written_into(corpus, tiny_model, tmp_path, capsys):
    (tmp_path / "notes.txt").touch()
    told = last_line(tiny_model, corpus, *CPU, "--out", tmp_path, capsys=capsys)
    assert re.search(rf"{tmp_path}: .*notes\.txt.*another --out", told)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_dataset_is_evaluated_from_its_own_folder_in_both_ways_and_a_face_missing_is_exit_code_1(
    fairface, tiny_model, tmp_path, capsys
):
    (fairface / "val" / "1.jpg").unlink()
    words = ("--root", fairface, "--ways", "scoring", "generation", "--tasks", "gender")
    assert evaluate(tiny_model, "fairface", *words, *CPU) == 1
    out, error = capsys.readouterr()
    assert "could not be asked about: missing image: 1" in error
    assert all(line in out for line in ("gender, scoring", "gender, generation", "gender: female", "race: "))
    assert "race, scoring" not in out
    assert all(line.endswith(" (small)") for line in out.splitlines() if line.startswith("  gender: "))


def test_unseen_attributes_are_evaluated_on_the_side_that_training_did_not_ask_about(tiny_model, tmp_path, capsys):
    (tmp_path / "celeba").mkdir()
    WRITERS["celeba"](tmp_path / "celeba")
    words = ("zero_shot_attributes", "--root", tmp_path / "celeba", *CPU, "--json")
    assert evaluate(tiny_model, *words) == 0
    report = json.loads(capsys.readouterr().out)
    assert "goatee" in report["tasks"] and not {"bald", "wavy_hair", "young", "gender"} & set(report["tasks"])
    assert report["means"]["scoring"]["metrics"]["accuracy"]["n"] > len(report["tasks"])


def test_the_unseen_side_of_a_corpus_is_evaluated_too(tiny_model, tmp_path, capsys):
    from datasets_scripts.build import build_corpus

    (tmp_path / "celeba").mkdir()
    WRITERS["celeba"](tmp_path / "celeba")
    corpus = tmp_path / "corpus"
    build_corpus("celeba", tmp_path / "celeba", corpus, configs=["zero_shot"], progress=False)
    assert evaluate(tiny_model, corpus, "--config", "zero_shot", "--split", "test", *CPU, "--json") == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert "goatee" in tasks and "smiling" in tasks and not {"bald", "wavy_hair", "young"} & set(tasks)
    assert tasks["goatee"]["scoring"]["baseline"]["source"] == "this split"


def test_an_age_is_asked_for_as_the_models_configuration_says_that_it_was_taught(tiny_model, tmp_path):
    from datasets_scripts.questions.conversations import canonical_question

    groups = {"age": {"question": "How old?", "options": list(canonical_question("age")[1])}}
    years = {"age_years": {"question": "How many years?", "options": ["0", "1"]}}
    told = {"none": None, "groups": groups, "both": groups | years}
    for name, tasks in told.items():
        config = json.loads((tiny_model / "config.json").read_text()) | {"face_tasks": tasks}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    assert [taught_age(tmp_path / name) for name in told] == ["years", "groups", "years"]
    assert taught_age("owner/name") == "years"


def test_a_model_on_the_hub_is_told_apart_by_its_commit_and_asked_for_its_age_as_it_was_taught(tmp_path, monkeypatch):
    from datasets_scripts.questions.conversations import canonical_question

    cache = tmp_path / "models--owner--name"
    (cache / "refs").mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for commit, asked in (("1" * 40, "age"), ("2" * 40, "age_years")):
        config = {"face_tasks": {asked: {"question": "?", "options": list(canonical_question("age")[1])}}}
        (cache / "snapshots" / commit).mkdir(parents=True)
        (cache / "snapshots" / commit / "config.json").write_text(json.dumps(config))
    found = []
    for commit in ("1" * 40, "2" * 40):
        (cache / "refs" / "main").write_text(commit)
        found.append((hub_commit("owner/name"), taught_age("owner/name")))
    assert found == [("1" * 40, "groups"), ("2" * 40, "years")]
    assert hub_commit(str(tmp_path)) is None and hub_commit("owner/no-such-model") is None


def test_the_tasks_of_a_corpus_are_those_whose_labels_the_table_knows():
    def tasks(*labels):
        return label_values(("id", face) for face in labels).tasks()

    assert tasks({"age_group": "20-29", "gender": "male", "race": "Black"}) == ["gender", "age"]
    angles = {"yaw": 20.0, "pitch": 1.0, "roll": 0.0}
    bald = {"attributes": [{"name": "bald", "value": "no"}]}
    assert tasks({"expression": "contempt", **angles, **bald}) == ["expression", "head_pose", "bald"]
    assert tasks({"age": 31.0, "yaw": 20.0}, {"age": None, "yaw": None}) == ["age_years", "yaw"]
    assert tasks({"action_units": [{"unit": 12, "intensity": 3.0}]}) == ["action_units"]
    assert tasks({"expression": "happy", "attributes": [{"name": "hat", "value": "cap"}]}) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tasks", "hat"], "'hat'.*gender, age"),
        (["--tasks", "expression"], "'expression'.*gender, age"),
        (["--root", "x"], "--root .*dataset"),
        (["--limit", "0"], "--limit 0: .*1 or more"),
        (["--backend", "tpu"], "--backend tpu: .*torch"),
        (["--rescore"], "--rescore .*--out DIR"),
        (["--set", "fold"], "--set fold: .*NAME=VALUE"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_before_the_model_is_loaded(words, told, corpus, capsys):
    assert re.search(told, last_line("hub/no-model-is-loaded", corpus, *words, capsys=capsys))


def test_a_corpus_without_pixels_is_one_line_that_says_how_to_get_them(tmp_path, capsys):
    bare = write_labelled(tmp_path / "bare", {"train": 4, "validation": 3}, include_images=False)
    told = last_line("hub/no-model-is-loaded", bare, capsys=capsys)
    assert str(bare) in told and "--no-images" in told and "--include-images" in told


def test_rows_without_pixels_are_left_out_and_counted(corpus, tiny_model, tmp_path, capsys):
    from datasets import Image, load_dataset

    rows = load_dataset(str(corpus), "face_tasks", split="validation").cast_column("image", Image(decode=False))
    half = rows.map(lambda row, index: {"image": row["image"] if index % 2 else None}, with_indices=True)
    (tmp_path / "half/face_tasks").mkdir(parents=True)
    half.cast_column("image", Image()).to_parquet(str(tmp_path / "half/face_tasks/validation-00000-of-00001.parquet"))
    (tmp_path / "half/README.md").write_text(
        "---\nconfigs:\n- config_name: face_tasks\n  data_files:\n  - split: validation\n    path: face_tasks/*\n---"
    )
    assert evaluate(tiny_model, tmp_path / "half", *CPU, "--json") == 0
    out, error = capsys.readouterr()
    report = json.loads(out)
    assert report["counts"]["left_out"] == {"row without a picture": 3} and report["tasks"]["age"]["scoring"]["n"] == 3
    assert "left out: row without a picture: 3" in error
    assert report["tasks"]["age"]["scoring"]["baseline"]["source"] == "this split"  # it has no training split


@pytest.mark.parametrize("name", ["nope", "corpora/nope", "./nope", "a/b/nope"])
def test_a_mistyped_name_is_not_looked_for_on_the_hub(name, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpora").mkdir()
    assert re.search(f"{name}: .*model folder.*owner/name", last_line(name, corpus, capsys=capsys))
    assert re.search(f"{name}: .*corpus folder", last_line("hub/no-model-is-loaded", name, capsys=capsys))


def test_a_mistyped_benchmark_is_told_the_name_that_was_meant(capsys):
    assert re.search(r"\bfairfce\b.*\bfairface\b", last_line("hub/no-model-is-loaded", "fairfce", capsys=capsys))
    words = ("hub/no-model-is-loaded", "CelebA", "--root", "x")
    assert re.search(r"--root\b.*\bceleba\b.*\bCelebA\b", last_line(*words, capsys=capsys))


def test_a_corpus_that_is_nowhere_is_said_to_be_no_folder_either(capsys):
    told = last_line("hub/no-model-is-loaded", "owner/no-such-corpus", capsys=capsys)
    assert "owner/no-such-corpus: " in told and "folder" in told


def test_a_benchmark_without_a_picture_that_can_be_read_is_no_success(fairface, tiny_model, tmp_path, capsys):
    for picture in fairface.rglob("*.jpg"):
        picture.write_bytes(b"damaged")
    words = ["evaluate", str(tiny_model), "fairface", "--root", str(fairface), "--out", str(tmp_path / "out"), *CPU]
    for _ in range(2):
        assert main(words) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "FairFace" in error and "unreadable image: " in error


def test_a_report_of_answers_that_cannot_be_read_is_no_success(tiny_model, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["evaluate", str(tiny_model), "synthetic", "--limit", "2", "--ways", "generation", "--out", str(out), *CPU]
    main(words)
    path = out / "predictions.jsonl"
    lines = [json.loads(line) | {"predicted": None, "text": "?"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    capsys.readouterr()
    assert main(["evaluate", "--rescore", "--out", str(out)]) == 1
    assert f"none of the {len(lines)} answers could be read" in capsys.readouterr().err.splitlines()[-1]
    lines[0]["predicted"] = lines[0]["expected"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["evaluate", "--rescore", "--out", str(out)]) == 0


def test_a_shard_that_was_edited_in_place_is_asked_about_as_it_is(corpus, tiny_model, tmp_path, capsys):
    import pyarrow.parquet as parquet

    copy, out = shutil.copytree(corpus, tmp_path / "corpus"), tmp_path / "out"
    words = (tiny_model, copy, *CPU, "--tasks", "gender", "--out", out)
    assert evaluate(*words) == 0
    (shard,) = copy.glob("face_tasks/validation-*")
    table = parquet.read_table(shard)
    rows = table.to_pylist()
    parquet.write_table(table.from_pylist([{**row, "image": rows[0]["image"]} for row in rows], table.schema), shard)
    assert "pictures: " in last_line(*words, capsys=capsys)
    changed = [{**row, "labels": {**row["labels"], "gender": "male"}} for row in rows]
    parquet.write_table(table.from_pylist(changed, table.schema), shard)
    assert evaluate(*words[:-1], tmp_path / "new", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["gender"]["scoring"]["n"] == 6
    shard.write_bytes(shard.read_bytes()[:300])
    assert str(copy) in last_line(*words[:-1], tmp_path / "cut", capsys=capsys)
