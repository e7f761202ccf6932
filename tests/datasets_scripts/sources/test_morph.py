"""MORPH-II: its CSV file, and the contradictions in it."""

import pickle

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.morph import MORPH, read_date, read_years

COLUMNS = "id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo"
GOOD = {"dob": "09/24/1950", "doa": "10/27/2004", "race": "B", "gender": "M", "age": "54"}


def write(root, *rows, ending="\n"):
    """MORPH-II's folder; a row is what differs from `GOOD`. Pictures are drawn where their names lead inside."""
    lines = [COLUMNS]
    for number, row in enumerate(rows):
        row = {"id_num": "009055", "picture_num": str(number), **GOOD, **row}
        row.setdefault("photo", f"Album2/{row['id_num']}_{number}{row['gender']}{row['age']}.JPG")
        lines.append(",".join(row.get(name, "") for name in COLUMNS.split(",")))
        if ".." not in row["photo"]:
            (root / row["photo"]).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 20), (90, 120, 150)).save(root / row["photo"])
    (root / "morph_2008_nonCommercial.csv").write_bytes(ending.join([*lines, ""]).encode("utf-8-sig"))
    return root


def read(root, **settings):
    """The faces of all splits, in the order of their ids."""
    found = [face for split in MORPH.SPLITS for face in MORPH(str(root), split, **settings).faces()]
    return sorted(found, key=lambda face: face.id)


def reasons(root, **settings):
    return [getattr(face, "reason", None) for face in read(root, **settings)]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_row_becomes_a_face(tmp_path, ending):
    (face,) = read(write(tmp_path, {"photo": "Album2/009055_1M54.JPG"}, ending=ending))
    assert isinstance(face, LabelledFace)
    assert face.labels == {"age": 54.0, "age_group": "50-59", "gender": "male"}
    assert (face.id, face.url) == ("morph/009055_1M54", "Album2/009055_1M54.JPG")
    assert face.image["bytes"] == (tmp_path / face.url).read_bytes()


@pytest.mark.parametrize(("code", "race"), [("B", "Black"), ("W", "White"), ("H", "Latino_Hispanic"), ("A", None)])
def test_race_is_passed_on_only_when_asked_for(tmp_path, code, race):
    write(tmp_path, {"race": code})
    assert "race" not in read(tmp_path)[0].labels
    assert read(tmp_path, race=True)[0].labels["race"] == race


def test_an_id_of_several_genders_is_left_out_whole(tmp_path):
    write(tmp_path, {}, {"gender": "F"}, {"id_num": "000013"})
    assert reasons(tmp_path) == [None, "id with several genders", "id with several genders"]


@pytest.mark.parametrize(("dob", "left_out"), [("09/24/1952", True), ("09/24/1951", False), ("", False)])
def test_an_id_whose_dates_of_birth_are_over_a_year_apart_is_left_out_whole(tmp_path, dob, left_out):
    write(tmp_path, {}, {"dob": dob, "age": "53"})
    assert set(reasons(tmp_path)) == {"id with dates of birth over a year apart" if left_out else None}


def test_an_id_of_several_races_is_left_out_where_race_is_asked_for(tmp_path):
    write(tmp_path, {}, {"race": "W"}, {"id_num": "9055", "race": "B"})
    assert reasons(tmp_path) == [None] * 3
    assert reasons(tmp_path, race=True) == ["id with several races"] * 3


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"photo": "Album2/009055_0F54.JPG"}, "gender other than in the file's name"),
        ({"photo": "Album2/009055_0M57.JPG"}, "age other than in the file's name"),
        ({"doa": "10/27/2007"}, "age other than between the dates"),
        ({"photo": "Album2/009055.JPG"}, "malformed name"),
        ({"photo": "../009055_0M54.JPG"}, "image outside the folder"),
        ({"gender": "", "photo": "Album2/009055_0M54.JPG"}, "undefined gender"),
        ({"age": "", "photo": "Album2/009055_0M54.JPG"}, "undefined age"),
        ({"age": "-3", "photo": "Album2/009055_0M54.JPG"}, "undefined age"),
    ],
)
def test_a_row_that_contradicts_itself_is_left_out_with_its_reason(tmp_path, row, reason):
    assert reasons(write(tmp_path, row)) == [reason]


def test_pictures_that_are_not_there_or_none_are_counted(tmp_path):
    write(tmp_path, {}, {})
    (tmp_path / "Album2/009055_0M54.JPG").unlink()
    (tmp_path / "Album2/009055_1M54.JPG").write_bytes(b"")
    assert reasons(tmp_path) == ["missing image", "unreadable image"]


def test_nobody_is_in_two_splits_whether_or_not_a_spreadsheet_dropped_zeros(tmp_path):
    rows = [{"id_num": f"{number:06}"} for number in range(1, 60)] + [{"id_num": str(n)} for n in range(1, 60)]
    write(tmp_path, *rows)
    people = {
        split: {int(face.id.removeprefix("morph/").split("_")[0]) for face in MORPH(str(tmp_path), split).faces()}
        for split in MORPH.SPLITS
    }
    assert set.union(*people.values()) == set(range(1, 60))
    assert sum(map(len, people.values())) == 59 and len(people["train"]) > 30


@pytest.mark.parametrize(
    ("text", "years"),
    [("54", 54), ("54.5", 54.5), ("19724", 54.0), ("0", None), ("", None), ("old", None), ("1e9", None)],
)
def test_ages_are_years_or_days(text, years):
    assert read_years(text) == (pytest.approx(years, abs=0.01) if years else None)


@pytest.mark.parametrize("text", ["9/24/1950", "09/24/1950 0:00", "9/24/50", "1950-09-24"])
def test_dates_are_read_in_every_form(text):
    assert read_date(text).isoformat() == "1950-09-24"
    assert read_date("unknown") is None and read_date(None) is None


def test_any_part_can_be_read_alone_and_elsewhere(tmp_path):
    reader = MORPH(str(write(tmp_path, *[{"id_num": f"{number:06}"} for number in range(40)])), "train")
    assert list(pickle.loads(pickle.dumps(reader)).faces(3, 6)) == list(reader.faces())[3:6]
    assert len(MORPH(str(tmp_path), "train", limit=2)) == 2


def test_a_folder_or_file_of_something_else_is_refused_by_what_it_lacks(tmp_path):
    with pytest.raises(CorpusError, match=r"morph_2008_nonCommercial\.csv.*folder of MORPH"):
        MORPH(str(tmp_path), "train")
    (tmp_path / "morph_2008_nonCommercial.csv").write_text("id_num,gender,photo\n")
    with pytest.raises(CorpusError, match=r"morph_2008_nonCommercial\.csv.*\bage\b.*id_num, gender, photo"):
        MORPH(str(tmp_path), "train")
