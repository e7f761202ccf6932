"""What the readers share: rows of label files, files of folders, pictures, ages and splits."""

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError
from datasets_scripts.sources.reading import (
    age_group_of,
    attribute_name,
    csv_rows,
    gender_and_attributes,
    hashed_split,
    inside,
    is_readable,
    list_files,
    read_picture,
    text_lines,
)


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (90, 120, 150)).save(path)


@pytest.mark.parametrize(
    "path", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "..\\a.jpg", "C:\\a.jpg", "", " ", "a\0b"]
)
def test_a_path_out_of_the_folder_is_no_picture(tmp_path, path):
    assert inside(tmp_path, path) is None
    assert read_picture(tmp_path, path) == "image outside the folder"


def test_backslashes_separate_folders(tmp_path):
    draw(tmp_path / "a/b.png")
    assert read_picture(tmp_path, "a\\b.png") == (tmp_path / "a/b.png").read_bytes()


def test_a_picture_that_is_not_there_and_one_that_is_none_have_their_reasons(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    for path in ("none.jpg", "empty.jpg/x.jpg", "folder.jpg", "a" * 300 + ".jpg"):
        assert read_picture(tmp_path, path) == "missing image"
    assert read_picture(tmp_path, "empty.jpg") == "unreadable image"


def test_a_picture_cut_off_is_unreadable_in_every_format(tmp_path):
    for suffix in ("jpg", "png", "bmp"):
        draw(tmp_path / f"a.{suffix}")
        whole = (tmp_path / f"a.{suffix}").read_bytes()
        assert is_readable(whole) and not is_readable(whole[: len(whole) // 2])


def test_files_come_sorted_without_hidden_ones_and_those_of_macos(tmp_path):
    for name in ("b/2.JPG", "b/10.jpg", "a.jpg", "._a.jpg", ".hidden/c.jpg", "__MACOSX/a.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path, (".jpg",)) == ["a.jpg", "b/10.jpg", "b/2.JPG"]


def test_lines_end_alike_on_every_system(tmp_path):
    (tmp_path / "a.txt").write_bytes("\N{BYTE ORDER MARK}one\r\ntwo\n\nthree".encode())
    assert list(text_lines(tmp_path / "a.txt")) == ["one", "two", "", "three"]


def test_a_text_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfeo\0n\0")
    with pytest.raises(CorpusError, match=r"a\.txt.*UTF-8.*save it"):
        list(text_lines(tmp_path / "a.txt"))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_columns_are_found_by_what_separates_the_header(tmp_path, mark):
    (tmp_path / "a.csv").write_text(f"file{mark} age\r\na.jpg{mark}3\r\nb.jpg\r\n")
    assert list(csv_rows(tmp_path / "a.csv", ("file",))) == [
        {"file": "a.jpg", "age": "3"},
        {"file": "b.jpg", "age": ""},
    ]


def test_a_file_without_a_header_is_read_by_the_names_of_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text("a.jpg,1;2\nb.jpg,3;4\n")
    rows = csv_rows(tmp_path / "a.csv", ("file",), names=("file", "points"))
    assert list(rows) == [{"file": "a.jpg", "points": "1;2"}, {"file": "b.jpg", "points": "3;4"}]


@pytest.mark.parametrize("names", [None, ("file", "age")])
@pytest.mark.parametrize("wrong", ['b.jpg,"3', '"b.jpg,3', 'b.jpg,"3" 4'])
def test_a_stray_quotation_mark_is_refused_with_its_line(tmp_path, names, wrong):
    """It would take all the lines that follow into one field."""
    (tmp_path / "a.csv").write_text(f'file,age\n"a, a.jpg",4\n{wrong}\nc.jpg,5\n')
    rows = csv_rows(tmp_path / "a.csv", ("file",), names=names)
    assert next(rows) == {"file": "a, a.jpg", "age": "4"}
    with pytest.raises(CorpusError, match=r"a\.csv, line 3\b.*remove.*quotation mark"):
        next(rows)


@pytest.mark.parametrize(
    ("years", "group"),
    [
        (0, "0-2"),
        (2.9, "0-2"),
        (3, "3-9"),
        (19, "10-19"),
        (69.9, "60-69"),
        (70, "more than 70"),
        (116, "more than 70"),
    ],
)
def test_an_age_has_the_group_that_it_falls_into(years, group):
    assert age_group_of(years) == group


def test_the_two_spellings_of_an_attribute_are_one():
    assert attribute_name("5_o_Clock_Shadow") == attribute_name("5 o Clock Shadow ") == "5_o_clock_shadow"


def test_male_is_the_gender_and_no_attribute():
    labels = gender_and_attributes({"Male": False, "Wearing_Hat": True, "Bald": False})
    assert labels == {"gender": "female", "attributes": {"wearing_hat": "yes", "bald": "no"}}
    assert "gender" not in gender_and_attributes({"Bald": True})


def test_a_hashed_split_has_its_shares_and_never_changes():
    splits = [hashed_split(f"person {number}") for number in range(2000)]
    assert [hashed_split(f"person {number}") for number in range(5)] == splits[:5]
    shares = {split: splits.count(split) / 2000 for split in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.03)
