"""Questions whose pictures a model was trained on are found by the dataset, by the pictures, or by a list."""

import io

import pytest
from PIL import Image

from facemllm.cli import UserError
from facemllm.evaluation.facexbench.overlap import find_overlap
from facemllm.evaluation.facexbench.reader import read_facexbench
from facemllm.evaluation.facexbench.tables import facexbench_markdown, facexbench_section
from facemllm.evaluation.predictions import Prediction
from tests.facemllm.evaluation.facexbench import miniature as miniature

TRAINED_ON = ("images/rafdb_single_mcq_train/question_1.png", "images/wmca_multiple_mcq/question_2_3.png")
ASKED_OF_THEM = ["rafdb_single_mcq_train/1", "wmca_multiple_mcq/2"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return read_facexbench(miniature.write(tmp_path_factory.mktemp("miniature") / "facexbench"))


def reencoded(bench, path):
    """The benchmark's picture as a training set may hold it: larger, as a JPEG."""
    data = io.BytesIO()
    with Image.open(bench.folder / path) as image:
        image.resize((150, 150), Image.Resampling.BICUBIC).save(data, "JPEG", quality=80)
    return data.getvalue()


def other_face():
    from datasets_scripts.synthetic.faces import draw_face, sample_labels

    data = io.BytesIO()
    draw_face(sample_labels(0, 7, "train"), 0, 7, "train").save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize("name", ["rafdb", "RAF-DB", "raf_db"])
def test_a_dataset_takes_out_all_its_questions(bench, name):
    assert find_overlap(bench, [name]) == {name: ["rafdb_single_mcq_train/1", "rafdb_single_mcq_train/2"]}


def test_a_dataset_of_which_nothing_is_asked_takes_out_nothing(bench):
    alone = read_facexbench(bench.folder, ["headpose"])
    assert find_overlap(alone, ["rafdb"]) == {"rafdb": []}


def test_a_folder_of_pictures_takes_out_the_questions_that_show_one_of_them(bench, tmp_path):
    for number, path in enumerate(TRAINED_ON):
        (tmp_path / f"{number}.jpg").write_bytes(reencoded(bench, path))
    (tmp_path / "other.png").write_bytes(other_face())
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")  # as the tools' questions show
    assert sorted(find_overlap(bench, [str(tmp_path)])[str(tmp_path)]) == ASKED_OF_THEM


def test_every_picture_is_compared_however_many_batches_they_are(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("facemllm.evaluation.facexbench.overlap.COMPARED_AT_ONCE", 2)
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(other_face())
    (tmp_path / "last.jpg").write_bytes(reencoded(bench, TRAINED_ON[0]))
    assert find_overlap(bench, [str(tmp_path)])[str(tmp_path)] == ASKED_OF_THEM[:1]
    assert "one of its 8 pictures" in capsys.readouterr().err


def test_a_corpus_takes_out_what_its_training_split_shows(bench, tmp_path, capsys):
    from datasets import Dataset

    from datasets_scripts.schema import FEATURES, assistant_turn, make_record, user_turn

    def shard(name, data):
        turns = [user_turn("How?", image=True), assistant_turn("So.")]
        common = {"messages": turns, "task": "vqa", "split": name, "source": "t", "license": "x"}
        image = None if data is None else {"bytes": data, "path": None}
        return [make_record(id=name, image=image, url=None if data else "u", **common)]

    pictures = (reencoded(bench, TRAINED_ON[0]), None, b"no picture")
    trained = [record for data in pictures for record in shard("train", data)]
    held_out = shard("validation", reencoded(bench, TRAINED_ON[1]))
    for name, records in (("train", trained), ("validation", held_out)):
        (tmp_path / "vqa").mkdir(exist_ok=True)
        path = tmp_path / "vqa" / f"{name}-00000-of-00001.parquet"
        Dataset.from_list(records, features=FEATURES).to_parquet(str(path))
    assert find_overlap(bench, [str(tmp_path)])[str(tmp_path)] == ASKED_OF_THEM[:1]
    assert "1 pictures cannot be read and are not compared" in capsys.readouterr().err


def test_a_list_names_questions_or_pictures(bench, tmp_path):
    path = tmp_path / "seen.txt"
    path.write_text(f"{TRAINED_ON[1]}\n\nrafdb_single_mcq_train/1\n")
    assert sorted(find_overlap(bench, [str(path)])[str(path)]) == ASKED_OF_THEM


def test_names_of_a_training_set_are_refused_because_the_benchmark_renames_its_pictures(bench, tmp_path):
    path = tmp_path / "fairface.txt"
    path.write_text("fairface/val/1\nval/2.jpg\n")
    with pytest.raises(UserError, match=r"fairface\.txt: .*\b2 lines\b.*--exclude fairface"):
        find_overlap(bench, [str(path)])


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ("no-such-thing", "--exclude no-such-thing: .*biwi, celeba"),
        ("", "--exclude .*exclude a whole dataset.*fairface"),
    ],
)
def test_what_can_exclude_nothing_is_refused(bench, tmp_path, exclude, message):
    with pytest.raises(UserError, match=message):
        find_overlap(bench, [exclude or str(tmp_path)])


def test_the_report_gives_the_score_with_and_without_the_overlap(bench):
    predictions = [
        Prediction(
            id=question.id,
            task=question.file.sub_category,
            way="scoring",
            expected=question.expected,
            predicted=question.expected if question.file.dataset in ("rafdb", "fairface") else None,
            extra={"category": question.file.category, "images": question.file.images},
        )
        for question in bench.questions
    ]
    report = facexbench_section(predictions, find_overlap(bench, ["fairface", "rafdb"]), bench.counts())
    text = "\n".join(facexbench_markdown(report))
    tables = report["scores"]["scoring"]
    assert tables["all"]["overall"]["value"] == pytest.approx(6 / 26)
    without = tables["without_overlap"]["overall"]
    assert without == {
        "value": 0.0,
        "interval": [0.0, pytest.approx(0.16, abs=0.01)],
        "n": 20,
        "unparsed": {"count": 20, "rate": 1.0},
    }
    assert report["overlap"] == {"removed": 6, "by": {"fairface": 4, "rafdb": 2}}
    assert "### Without overlap with training data (fairface: 4, rafdb: 2; 6 removed)" in text
    assert (
        "26 of 28 questions can be asked; pictures missing: 2; questions left out for it: 2 (imdb_single_mcq: 1, "
        "lfw_multiple_mcq: 1)"
    ) in text
