"""CelebA in its layout: runs of spaces, the count in the first line, and Kaggle's CSV files."""

import pickle

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.celeba import ATTRIBUTES, CelebA

FILES = [f"{number:06}.jpg" for number in range(1, 7)]
PARTITION = [0, 0, 0, 1, 2, 2]


def write(root, marks=None, count=None, partition=None, files=FILES, folder="img_align_celeba", ending="\n"):
    """CelebA's folder; `marks` are the names that are 1 in each row."""
    marks = marks or [("Male", "Smiling"), ("Wearing_Hat", "5_o_Clock_Shadow"), (), (), (), ("Young",)]
    lines = [str(len(files) if count is None else count), " ".join(ATTRIBUTES) + " "]
    for file, marked in zip(files, marks, strict=True):
        lines.append(file + "".join("  1" if name in marked else " -1" for name in ATTRIBUTES))
    (root / "list_attr_celeba.txt").write_bytes(ending.join([*lines, ""]).encode())
    places = partition or list(zip(files, PARTITION, strict=True))
    (root / "list_eval_partition.txt").write_bytes("".join(f"{a} {b}{ending}" for a, b in places).encode())
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        Image.new("RGB", (20, 24), (40 * number, 90, 100)).save(root / folder / file)
    return root


def faces(root, split="train", **settings):
    return list(CelebA(str(root), split, **settings).faces())


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_row_becomes_a_face_with_gender_and_39_attributes(tmp_path, ending):
    first, second, _ = faces(write(tmp_path, ending=ending))
    assert isinstance(first, LabelledFace)
    assert (first.id, first.url, first.source) == ("celeba/000001", "img_align_celeba/000001.jpg", "CelebA")
    assert first.image["bytes"] == (tmp_path / "img_align_celeba/000001.jpg").read_bytes()
    assert first.labels["gender"] == "male" and second.labels["gender"] == "female"
    assert len(first.labels["attributes"]) == 39 and "male" not in first.labels["attributes"]
    assert first.labels["attributes"]["smiling"] == "yes" and first.labels["attributes"]["bald"] == "no"
    assert second.labels["attributes"]["5_o_clock_shadow"] == second.labels["attributes"]["wearing_hat"] == "yes"


def test_the_partition_is_the_split(tmp_path):
    write(tmp_path)
    ids = {split: [face.id for face in faces(tmp_path, split)] for split in CelebA.SPLITS}
    assert ids["train"] == ["celeba/000001", "celeba/000002", "celeba/000003"]
    assert (ids["validation"], ids["test"]) == (["celeba/000004"], ["celeba/000005", "celeba/000006"])


def test_nothing_tells_who_a_picture_shows_or_where_it_was_before_alignment(tmp_path):
    write(tmp_path)
    (tmp_path / "identity_CelebA.txt").write_text("".join(f"{file} 2880\n" for file in FILES))
    (tmp_path / "list_bbox_celeba.txt").write_text("6\nimage_id x_1 y_1 width height\n000001.jpg 95 71 226 313\n")
    face = faces(tmp_path)[0]
    assert face.box is None and face.landmarks is None and "2880" not in repr(face)


def test_kaggles_files_give_the_same_faces(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write(tmp_path / "a")
    kaggle = write(tmp_path / "b", folder="img_align_celeba/img_align_celeba")
    lines = (kaggle / "list_attr_celeba.txt").read_text().splitlines()[1:]
    lines[0] = "image_id " + lines[0]
    (kaggle / "list_attr_celeba.csv").write_text("\n".join(",".join(line.split()) for line in lines))
    places = (kaggle / "list_eval_partition.txt").read_text().replace(" ", ",")
    (kaggle / "list_eval_partition.csv").write_text("image_id,partition\n" + places)
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (kaggle / name).unlink()
    assert [face.labels for face in faces(kaggle)] == [face.labels for face in faces(tmp_path / "a")]


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path):
    write(tmp_path)
    (tmp_path / "img_align_celeba/000001.jpg").unlink()
    (tmp_path / "img_align_celeba/000002.jpg").write_bytes(b"")
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("000003.jpg -1", "000003.jpg  0"))
    reasons = ["missing image", "unreadable image", "values other than forty of 1 and -1"]
    assert [face.reason for face in faces(tmp_path)] == reasons


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 7}, r"list_attr_celeba\.txt.*\b7\b.*\b6\b.*get it again.*\blimit\b"),
        (
            {"partition": [(FILES[0], 0)]},
            r"row 2\b.*list_attr_celeba\.txt.*000002\.jpg.*same",
        ),
        (
            {"partition": list(zip(FILES[::-1], PARTITION, strict=True))},
            r"row 1\b.*list_attr_celeba\.txt.*000001\.jpg.*same",
        ),
        (
            {"partition": list(zip(FILES, [0, 0, 3, 1, 2, 2], strict=True))},
            r"list_eval_partition\.txt.*row 3\b.*'000003\.jpg 3'.*0-2",
        ),
    ],
)
def test_label_files_that_do_not_fit_are_refused(tmp_path, settings, message):
    with pytest.raises(CorpusError, match=message):
        faces(write(tmp_path, **settings))


def test_other_attributes_than_celebas_are_refused(tmp_path):
    path = write(tmp_path) / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("Bald", "Hairless"))
    with pytest.raises(CorpusError, match=r"list_attr_celeba\.txt.*\b40\b.*Bald, Hairless"):
        faces(tmp_path)


@pytest.mark.parametrize("count", ["²", "9" * 5000])
def test_a_count_that_is_no_number_is_refused(tmp_path, count):
    path = write(tmp_path) / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("6\n", f"{count}\n", 1))
    with pytest.raises(CorpusError, match=r"list_attr_celeba\.txt.*\b40\b.*get it again"):
        faces(tmp_path)


@pytest.mark.parametrize("missing", ["list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"])
def test_a_folder_without_the_layout_is_refused_by_what_it_lacks(tmp_path, missing):
    (write(tmp_path) / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError, match=f"{missing}.*folder of CelebA"):
        CelebA(str(tmp_path), "train")


def test_any_part_can_be_read_alone_and_elsewhere(tmp_path):
    reader = CelebA(str(write(tmp_path)), "train")
    assert len(reader) == 3 and len(CelebA(str(tmp_path), "train", limit=2)) == 2
    assert list(pickle.loads(pickle.dumps(reader)).faces(1, 3)) == list(reader.faces())[1:]


def test_a_build_depends_on_the_labels_content(tmp_path):
    before = CelebA(str(write(tmp_path)), "train").describe()
    assert before == {"name": "celeba", "split": "train", "limit": None, "labels": before["labels"]}
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("000003.jpg -1", "000003.jpg  1"))
    assert CelebA(str(tmp_path), "train").describe()["labels"] != before["labels"]
