"""``facemllm evaluate``: what it counts, and that it runs on a corpus and a model that are folders."""

import json
from functools import partial

import pytest

from facemllm.cli import main
from facemllm.corpus_evaluation import majority_answers, score, tasks_of

AGES = ("20-29", "30-39", "more than 70")


def write_labelled(out, counts, **options):
    from datasets_scripts.publish import write_corpus
    from datasets_scripts.schema import assistant_turn, make_record, user_turn
    from datasets_scripts.synthetic_faces import draw_face, sample_labels

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


def prediction(expected, answer, group="female"):
    return {"task": "gender", "expected": expected, "answer": answer, "groups": {"gender": group}}


def test_accuracy_counts_only_the_option_itself():
    answers = [prediction("female", "female"), prediction("female", "she is female"), prediction("male", "female")]
    figures = score(answers, {"gender": "female"})["gender"]
    assert figures["accuracy"] == round(1 / 3, 4) and figures["n"] == 3
    assert figures["majority"] == round(2 / 3, 4)
    assert figures["unparsed"] == round(1 / 3, 4)


def test_groups_have_their_own_counts_and_intervals():
    answers = [prediction("female", "female")] * 8 + [prediction("male", "female", group="male")] * 2
    groups = score(answers, {"gender": "female"})["gender"]["groups"]["gender"]
    assert (groups["female"]["accuracy"], groups["female"]["n"]) == (1.0, 8)
    assert (groups["male"]["accuracy"], groups["male"]["n"]) == (0.0, 2)
    assert groups["male"]["interval"][1] > 0.5  # two faces say little


def test_race_is_evaluated_only_when_named():
    labels = [{"age_group": "20-29", "gender": "male", "race": "Black"}]
    assert tasks_of(labels) == ["gender", "age"]
    assert majority_answers(labels, ["race"]) == {"race": "Black"}


def test_a_corpus_is_evaluated_from_its_folder(corpus, tiny_model, tmp_path, capsys):
    out = tmp_path / "report.json"
    assert main(["evaluate", str(tiny_model), str(corpus), "--device", "cpu", "--json", "--out", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(out.read_text())
    assert report["tasks"]["age"]["n"] == 6
    assert report["tasks"]["gender"]["n"] == 4  # two of the six faces have no gender label
    assert set(report["tasks"]["age"]["groups"]["age_group"]) == set(AGES)


def test_attributes_and_expressions_are_tasks_where_all_their_values_are_in_the_table():
    labels = [
        {"expression": "contempt", "yaw": 20.0, "attributes": [{"name": "bald", "value": "no"}], "action_units": None},
        {"expression": "anger", "yaw": None, "attributes": None, "action_units": None},
    ]
    assert tasks_of(labels) == ["expression", "yaw", "bald"]
    assert majority_answers(labels, ["expression"]) == {"expression": "anger"}
    drawn = [{"expression": "happy", "attributes": [{"name": "hat", "value": "cap"}]}, {"expression": "neutral"}]
    assert tasks_of(drawn) == []


def test_zero_shot_attributes_are_evaluated_on_a_split_that_training_did_not_ask_about(tiny_model, tmp_path, capsys):
    from datasets_scripts.build import build_corpus
    from tests.datasets_scripts.miniatures import WRITERS

    (tmp_path / "celeba").mkdir()
    WRITERS["celeba"](tmp_path / "celeba")
    corpus = tmp_path / "corpus"
    build_corpus("celeba", tmp_path / "celeba", corpus, configs=["zero_shot"], progress=False)
    words = ["--config", "zero_shot", "--split", "test", "--device", "cpu", "--json"]
    assert main(["evaluate", str(tiny_model), str(corpus), *words]) == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert "goatee" in tasks and "smiling" in tasks and not {"bald", "wavy_hair", "young"} & set(tasks)


def test_an_unknown_task_is_one_line_and_exit_code_2(corpus, tiny_model, capsys):
    assert main(["evaluate", str(tiny_model), str(corpus), "--tasks", "hat"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "hat" in error and "gender" in error


def test_a_missing_corpus_is_one_line_and_exit_code_2(tiny_model, tmp_path, capsys):
    assert main(["evaluate", str(tiny_model), str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def last_line(words, capsys):
    assert main(["evaluate", *map(str, words)]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_corpus_without_pixels_is_one_line_that_says_how_to_get_them(tmp_path, capsys):
    bare = write_labelled(tmp_path / "bare", {"train": 4, "validation": 3}, include_images=False)
    told = last_line(["hub/no-model-is-loaded", bare], capsys)
    assert "none of its 3 rows carries a picture" in told and "--no-images" in told and "--include-images" in told


def test_rows_without_pixels_are_left_out_and_counted(corpus, tiny_model, tmp_path, capsys):
    from datasets import Image, load_dataset

    for split in ("train", "validation"):
        rows = load_dataset(str(corpus), "face_tasks", split=split).cast_column("image", Image(decode=False))
        half = rows.map(lambda row, index: {"image": row["image"] if index % 2 else None}, with_indices=True)
        half = half.cast_column("image", Image())
        (tmp_path / "half" / "face_tasks").mkdir(parents=True, exist_ok=True)
        half.to_parquet(str(tmp_path / "half" / "face_tasks" / f"{split}-00000-of-00001.parquet"))
    (tmp_path / "half" / "README.md").write_text((corpus / "README.md").read_text().split("dataset_info:")[0] + "---")
    assert main(["evaluate", str(tiny_model), str(tmp_path / "half"), "--device", "cpu", "--json"]) == 0
    out, error = capsys.readouterr()
    report = json.loads(out)
    assert (report["faces"], report["without_picture"], report["tasks"]["age"]["n"]) == (3, 3, 3)
    assert "3 rows without a picture are left out" in error


def test_without_a_training_split_the_baseline_split_is_asked_for(tmp_path, tiny_model, capsys):
    only = write_labelled(tmp_path / "only", {"validation": 4})
    told = last_line([tiny_model, only], capsys)
    assert "no split train" in told and "majority baseline" in told and "--baseline-split validation" in told


@pytest.mark.parametrize("name", ["nope", "corpora/nope", "./nope", "a/b/nope"])
def test_a_mistyped_name_is_not_looked_for_on_the_hub(name, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpora").mkdir()
    told = "a Hub id has the form owner/name"
    assert f"{name}: there is no such corpus folder; {told}" in last_line(["hub/no-model-is-loaded", name], capsys)
    assert f"{name}: there is no such model folder; {told}" in last_line([name, corpus], capsys)


def test_a_task_that_drawn_faces_lack_is_answered_with_the_labels_they_have(capsys):
    drawn = [{"expression": "happy", "attributes": [{"name": "hat", "value": "cap"}]}]
    with pytest.raises(ValueError, match=r"'age' has no label here; the corpus's labels \(expression, hat\)"):
        majority_answers(drawn, ["age"])


def test_a_corpus_that_is_nowhere_is_said_to_be_no_folder_either(capsys):
    told = last_line(["hub/no-model-is-loaded", "owner/no-such-corpus"], capsys)
    assert "owner/no-such-corpus: there is no such folder here; " in told
