"""UTKFace, whose labels are in the files' names, malformed ones among them."""

import pickle

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped
from datasets_scripts.sources.utkface import UTKFace


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (90, 120, 150)).save(root / name, "JPEG")
    return root


def read(root, **settings):
    """The faces of all three splits by their real names' order of reading."""
    found = []
    for split in UTKFace.SPLITS:
        found += UTKFace(str(root), split, **settings).faces()
    return found


@pytest.mark.parametrize("name", ["25_1_3_20170116174525125.jpg", "25_1_3_20170116174525125.jpg.chip.jpg"])
def test_a_name_becomes_labels(tmp_path, name):
    (face,) = read(write(tmp_path, name))
    assert isinstance(face, LabelledFace)
    assert face.labels == {"age": 25.0, "age_group": "20-29", "gender": "female"}
    assert face.image["bytes"] == (tmp_path / name).read_bytes()


def test_race_is_told_by_nothing_unless_asked_for(tmp_path):
    write(tmp_path, "UTKFace/25_1_3_20170116174525125.jpg.chip.jpg")
    (face,) = read(tmp_path)
    assert face.url == "UTKFace/25_1_?_20170116174525125.jpg.chip.jpg"
    assert "25_1_3" not in repr(face) and list(tmp_path.glob(face.url))
    (asked,) = read(tmp_path, race=True)
    assert asked.labels["race"] == "Indian" and asked.url == "UTKFace/25_1_3_20170116174525125.jpg.chip.jpg"
    assert asked.id == face.id


@pytest.mark.parametrize(("code", "race"), [(0, "White"), (1, "Black"), (2, None), (3, "Indian"), (4, None)])
def test_races_that_are_no_group_of_fairfaces_are_unknown(tmp_path, code, race):
    (face,) = read(write(tmp_path, f"1_0_{code}_20170116174525125.jpg"), race=True)
    assert face.labels["race"] == race and face.labels["gender"] == "male"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("39_1_20170116174525125.jpg.chip.jpg", "malformed name"),
        ("53__0_20170116184028385.jpg", "malformed name"),
        ("55_0_0_20170116232725357jpg", "malformed name"),
        ("44_1_4_20170116235150272.pg.chip.jpg", "malformed name"),
        ("117_1_2_20170116235150272.jpg", "age, gender or race out of range"),
        ("25_2_2_20170116235150272.jpg", "age, gender or race out of range"),
        ("25_1_5_20170116235150272.jpg", "age, gender or race out of range"),
    ],
)
def test_a_name_that_tells_no_labels_is_left_out_with_its_reason(tmp_path, name, reason):
    (skipped,) = read(write(tmp_path, name))
    assert isinstance(skipped, Skipped) and skipped.reason == reason


def test_a_blank_before_the_ending_hides_no_label(tmp_path):
    (face,) = read(write(tmp_path, "24_0_1_20170116220224657 .jpg"))
    assert face.labels["age"] == 24


def test_several_parts_are_one_dataset_in_which_a_picture_counts_once(tmp_path):
    names = ["part1/1_0_0_20170116174525125.jpg", "part2/2_0_0_20170116174525126.jpg"]
    write(tmp_path, *names, "part3/1_0_0_20170116174525125.jpg")
    found = read(tmp_path)
    assert sorted(face.url for face in found if isinstance(face, LabelledFace)) == [
        name.replace("_0_0_", "_0_?_") for name in names
    ]
    assert [face.reason for face in found if isinstance(face, Skipped)] == ["same name in another folder"]


def test_the_splits_share_no_picture_and_are_the_same_for_both_kinds_of_pictures(tmp_path):
    names = [f"{age}_0_0_201701161745{age:05}.jpg" for age in range(1, 80)]
    write(tmp_path / "wild", *names)
    write(tmp_path / "aligned", *[f"{name}.chip.jpg" for name in names])
    wild, aligned = (
        {split: {face.id for face in UTKFace(str(tmp_path / kind), split).faces()} for split in UTKFace.SPLITS}
        for kind in ("wild", "aligned")
    )
    assert wild == aligned
    assert len(set.union(*wild.values())) == sum(map(len, wild.values())) == len(names)
    assert len(wild["train"]) > len(wild["validation"]) > 0 < len(wild["test"])


def test_an_empty_picture_is_unreadable(tmp_path):
    (tmp_path / "25_1_3_20170116174525125.jpg").touch()
    assert [face.reason for face in read(tmp_path)] == ["unreadable image"]


def test_any_part_can_be_read_alone_and_elsewhere(tmp_path):
    reader = UTKFace(str(write(tmp_path, *[f"{age}_0_0_201701161745{age:05}.jpg" for age in range(1, 20)])), "train")
    assert list(pickle.loads(pickle.dumps(reader)).faces(2, 5)) == list(reader.faces())[2:5]
    assert len(UTKFace(str(tmp_path), "train", limit=3)) == 3


def test_a_build_depends_on_the_names(tmp_path):
    write(tmp_path, *[f"{age}_0_0_201701161745{age:05}.jpg" for age in range(1, 20)])
    before = UTKFace(str(tmp_path), "train").describe()["labels"]
    for path in tmp_path.glob("1*.jpg"):
        path.unlink()
    assert UTKFace(str(tmp_path), "train").describe()["labels"] != before


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"age_gender_race_date\.jpg.*folder of UTKFace"):
        UTKFace(str(tmp_path), "train")
    with pytest.raises(CorpusError, match=r"nowhere.*folder of UTKFace"):
        UTKFace(str(tmp_path / "nowhere"), "train")
