"""FairFace in Parquet: the same faces as from its folder, a row group at a time."""

import io
from pathlib import Path

import pyarrow
import pytest
from datasets import ClassLabel, Features, Value
from PIL import Image
from pyarrow import Table, parquet

from datasets_scripts.schema import AGE_GROUPS, CorpusError, LabelledFace, Skipped
from datasets_scripts.sources.fairface import GENDERS, FairFace
from datasets_scripts.sources.parquet import GroupPictures
from tests.datasets_scripts.sources.test_fairface import write_folder

MORE = Path(__file__).parents[4] / "shared" / "data" / "fairface_more"


def jpeg(shade):
    file = io.BytesIO()
    Image.new("RGB", (24, 24), (shade % 256, 90, 100)).save(file, "JPEG")
    return file.getvalue()


def rows(*numbers, split="train"):
    return [
        {
            "file": f"{split}/{number}.jpg",
            "image": {"bytes": jpeg(number), "path": f"{split}/{number}.jpg"},
            "age": AGE_GROUPS[number % 9],
            "gender": GENDERS[number % 2],
            "race": "White",
        }
        for number in numbers
    ]


def write(path, found, group=3, without=()):
    kept = [{name: value for name, value in row.items() if name not in without} for row in found]
    parquet.write_table(Table.from_pylist(kept), path, row_group_size=group)


def faces(root, split="train", **settings):
    return list(FairFace(str(root), split, **settings).faces())


def test_a_row_is_the_face_that_the_folder_gives(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "parquet").mkdir()
    write_folder(tmp_path / "folder")
    names = ("file", "age", "gender", "race")
    found = [
        {**dict(zip(names, row[:4], strict=True)), "image": {"bytes": file.read_bytes(), "path": None}}
        for row, file in [
            (("val/1.jpg", "3-9", "Male", "East Asian"), tmp_path / "folder/val/1.jpg"),
            (("val/2.jpg", "more than 70", "Female", "Latino_Hispanic"), tmp_path / "folder/val/2.jpg"),
            (("val/3.jpg", "0-2", "Female", "White"), tmp_path / "folder/val/3.jpg"),
        ]
    ]
    write(tmp_path / "parquet" / "validation-00000-of-00001.parquet", found)
    for race in (False, True):
        same = faces(tmp_path / "folder", "validation", race=race)
        assert faces(tmp_path / "parquet", "validation", race=race) == same


def test_a_folder_may_have_both_layouts_and_no_face_twice(tmp_path):
    (tmp_path / "train").mkdir()
    write_folder(tmp_path, [("train/1.jpg", "3-9", "Male", "White", "True")], name="fairface_label_train.csv")
    write(tmp_path / "train-00000.parquet", rows(1, 2))
    first, again, other = faces(tmp_path)
    assert (first.id, other.id) == ("fairface/train/1", "fairface/train/2")
    assert again == Skipped("fairface/train/1", "id of an earlier row")


def test_any_part_is_read_by_its_index(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", rows(*range(10)))
    write(tmp_path / "train-00001-of-00002.parquet", rows(*range(10, 15)))
    reader = FairFace(str(tmp_path), "train")
    whole = list(reader.faces())
    assert len(reader) == 15 and [face.id for face in whole] == [f"fairface/train/{number}" for number in range(15)]
    assert [face.image["bytes"] for face in whole] == [jpeg(number) for number in range(15)]
    assert list(reader.faces(8, 12)) == whole[8:12]


def test_pictures_of_a_group_are_read_in_any_order(tmp_path):
    write(tmp_path / "train.parquet", rows(*range(200)), group=200)
    pictures = GroupPictures(tmp_path / "train.parquet", 0)
    assert [pictures.read(number) for number in (150, 3, 199)] == [jpeg(number) for number in (150, 3, 199)]


def test_numbers_of_classes_are_read_by_the_names_in_the_schema(tmp_path):
    found = [{**row, "age": index, "gender": 1} for index, row in enumerate(rows(0, 1))]
    names = {"age": ClassLabel(names=list(AGE_GROUPS)), "gender": ClassLabel(names=list(GENDERS))}
    table = Table.from_pylist([{name: row[name] for name in ("age", "gender", "image")} for row in found])
    schema = Features({**names, "image": {"bytes": Value("binary"), "path": Value("string")}}).arrow_schema
    parquet.write_table(table.cast(schema), tmp_path / "train-00000.parquet")
    first, second = faces(tmp_path)
    assert first.labels == {"age_group": "0-2", "gender": "female"} and second.labels["age_group"] == "3-9"
    assert (first.id, second.id) == ("fairface/train/1", "fairface/train/2")


def test_numbers_without_names_are_refused(tmp_path):
    write(tmp_path / "train.parquet", [{**row, "age": 3} for row in rows(1)])
    with pytest.raises(CorpusError, match=r"train\.parquet: age has numbers.*ClassLabel"):
        faces(tmp_path)


def test_a_bad_row_is_counted(tmp_path):
    one, two, three, four, five = rows(1, 2, 3, 4, 5)
    bad = [{**one, "age": "old"}, {**two, "gender": None}, {**three, "image": None}]
    bad += [{**four, "image": {"bytes": b"no picture", "path": ""}}, {**five, "file": "../5.jpg"}]
    write(tmp_path / "train.parquet", [*bad, *rows(6)])
    *skipped, last = faces(tmp_path)
    reasons = ["unknown age 'old'", "unknown gender ''", "missing image", "unreadable image"]
    assert [row.reason for row in skipped] == [*reasons, "image outside the folder"]
    assert isinstance(last, LabelledFace)


@pytest.mark.parametrize("kept", [0, 100, 2000])
def test_a_damaged_file_is_refused_in_a_line(tmp_path, kept):
    write(tmp_path / "train.parquet", rows(*range(30)))
    content = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(content[:kept])
    with pytest.raises(CorpusError, match=r"train\.parquet is no Parquet file.*copy it anew") as refused:
        faces(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("column", ["age", "image"])
def test_a_missing_column_is_named(tmp_path, column):
    write(tmp_path / "train.parquet", rows(1), without=(column,))
    with pytest.raises(CorpusError, match=f"no column {column}; it has "):
        faces(tmp_path)


def test_a_column_that_is_there_twice_is_named(tmp_path):
    table = Table.from_pylist(rows(1))
    parquet.write_table(table.append_column("age", table["age"]), tmp_path / "train.parquet")
    with pytest.raises(CorpusError, match="more than one column age"):
        faces(tmp_path)


@pytest.mark.parametrize("metadata", ["[" * 100_000, '{"info": {"features": {"age": {"names": ["\\ud800"]}}}}'])
def test_names_of_classes_that_cannot_be_read_are_none(tmp_path, metadata):
    table = Table.from_pylist([{**row, "age": 0} for row in rows(1)])
    parquet.write_table(table.replace_schema_metadata({"huggingface": metadata}), tmp_path / "train.parquet")
    with pytest.raises(CorpusError, match="age has numbers"):
        faces(tmp_path)


def test_a_changed_label_is_another_dataset(tmp_path):
    write(tmp_path / "train.parquet", rows(1))
    before = FairFace(str(tmp_path), "train").describe()
    write(tmp_path / "train.parquet", [{**row, "age": "60-69"} for row in rows(1)])
    assert FairFace(str(tmp_path), "train").describe() != before


@pytest.mark.skipif(not MORE.is_dir(), reason=f"FairFace's further faces are not at {MORE}")
def test_pictures_of_zeros_are_decoded_few_at_a_time(tmp_path):
    large = [{**row, "image": {"bytes": bytes(40_000_000), "path": None}} for row in rows(*range(1, 13))]
    parquet.write_table(Table.from_pylist(large), tmp_path / "train.parquet", compression="zstd", write_batch_size=1)
    pool_before = pyarrow.default_memory_pool()
    assert (tmp_path / "train.parquet").stat().st_size < 1_000_000
    pool = pyarrow.proxy_memory_pool(pool_before)  # counts from here on
    pyarrow.set_memory_pool(pool)
    try:
        assert {face.reason for face in faces(tmp_path)} == {"unreadable image"}
    finally:
        pyarrow.set_memory_pool(pool_before)
    assert pool.max_memory() < 200 * 2**20


def test_the_real_files_are_read_with_little_memory(tmp_path):
    reader = FairFace(str(MORE), "train")
    assert len(reader) == 28_001
    found = list(reader.faces(27_900))
    assert len(found) == 101 and all(isinstance(face, LabelledFace) for face in found)
    assert found[0].id.startswith("fairface/train/") and found[0].image["path"] == f"{found[0].id.split('/')[-1]}.jpg"
    assert pyarrow.total_allocated_bytes() < 20 * 2**20
