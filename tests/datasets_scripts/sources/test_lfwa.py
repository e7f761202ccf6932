"""LFWA: MATLAB's files in both formats, and names of people that are passed on nowhere."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.celeba import ATTRIBUTES
from datasets_scripts.sources.lfwa import LFWA

NAMES = [rf"{person}\{person}_0001.jpg" for person in ("AJ_Cook", "Zico", "Uma_Thurman", "Al_Gore")]
INDICES = {"indices_img_train": [1, 3], "indices_img_test": [2, 4]}


def labels():
    values = np.zeros((len(NAMES), 40))
    values[0, [ATTRIBUTES.index("Male"), ATTRIBUTES.index("5_o_Clock_Shadow")]] = 1
    values[2, ATTRIBUTES.index("Smiling")] = 1
    return values


def cells(texts):
    return np.array(texts, dtype=object).reshape(-1, 1)


def write(root, values=None, **indices):
    """LFWA's folder in MATLAB's older format, which SciPy writes."""
    values = labels() if values is None else values
    savemat(root / "lfw_att_40.mat", {"label": values, "name": cells(NAMES), "AttrName": cells(ATTRIBUTES)})
    columns = {name: np.array(rows, float).reshape(-1, 1) for name, rows in {**INDICES, **indices}.items()}
    savemat(root / "indices_train_test.mat", columns)
    for number, name in enumerate(NAMES):
        place = root / "lfw" / name.replace("\\", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (60 * number, 120, 150)).save(place)
    return root


def write_hdf5(path, arrays):
    """A file of MATLAB 7.3: HDF5 behind 512 bytes of header, axes the other way round, cells as references."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays.items():
            if value.dtype != object:
                file[name] = value.T
                continue
            cells = file.create_dataset(name, (1, value.size), dtype=h5py.ref_dtype)
            for number, text in enumerate(value.ravel()):
                letters = np.array([ord(letter) for letter in text], dtype=np.uint16).reshape(-1, 1)
                cells[0, number] = file.create_dataset(f"#refs#/{name}{number}", data=letters).ref
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Thu Oct 08 11:14:21 2015 HDF5 schema 1.00 .")


def faces(root, split="train", **settings):
    return list(LFWA(str(root), split, **settings).faces())


def test_a_row_becomes_a_face_that_tells_nobody_who_it_is(tmp_path):
    first, second = faces(write(tmp_path))
    assert isinstance(first, LabelledFace)
    assert (first.id, first.url, first.image["path"]) == ("lfwa/1", "lfw_att_40.mat#1", "1.jpg")
    assert first.image["bytes"] == (tmp_path / "lfw/AJ_Cook/AJ_Cook_0001.jpg").read_bytes()
    assert first.labels["gender"] == "male" and first.labels["attributes"]["5_o_clock_shadow"] == "yes"
    assert len(first.labels["attributes"]) == 39
    assert second.labels["gender"] == "female" and second.labels["attributes"]["smiling"] == "yes"
    assert not any(word in repr([first, second]) for word in ("Cook", "Thurman"))


def test_the_indices_count_from_one_and_are_the_split(tmp_path):
    write(tmp_path)
    assert [face.id for face in faces(tmp_path, "test")] == ["lfwa/2", "lfwa/4"]


def test_files_of_matlab_7_3_give_the_same_faces(tmp_path):
    older = faces(write(tmp_path))
    attributes = {"label": labels(), "name": cells(NAMES), "AttrName": cells(ATTRIBUTES)}
    write_hdf5(tmp_path / "lfw_att_40.mat", attributes)
    columns = {name: np.array(rows, float).reshape(-1, 1) for name, rows in INDICES.items()}
    write_hdf5(tmp_path / "indices_train_test.mat", columns)
    assert faces(tmp_path) == older


@pytest.mark.parametrize("content", [b"MATLAB 7.3 MAT-file" + bytes(600), b"MATLAB 5.0 MAT-file" + bytes(600), b"no"])
def test_a_damaged_label_file_is_refused(tmp_path, content):
    (write(tmp_path) / "lfw_att_40.mat").write_bytes(content)
    with pytest.raises(CorpusError, match=r"lfw_att_40\.mat.*(get it again|h5py.*pip)"):
        faces(tmp_path)


@pytest.mark.parametrize("rows", [np.zeros(2, [("a", "i4")]), np.array([1.5]), np.array([1j]), np.array([np.nan])])
def test_an_index_that_is_no_row_is_refused(tmp_path, rows):
    write_hdf5(write(tmp_path) / "indices_train_test.mat", {"indices_img_train": rows})
    with pytest.raises(CorpusError, match=r"indices_train_test\.mat: row .* of 4 of lfw_att_40\.mat; get both again"):
        faces(tmp_path)


def test_an_index_of_texts_is_refused(tmp_path):
    write_hdf5(write(tmp_path) / "indices_train_test.mat", {"indices_img_train": cells(["one"])})
    with pytest.raises(CorpusError, match=r"indices_train_test\.mat: row one of 4"):
        faces(tmp_path)


@pytest.mark.timeout(60)
def test_another_file_that_a_label_file_names_is_not_opened(tmp_path):
    import h5py

    os.mkfifo(tmp_path / "pipe")
    path = write(tmp_path) / "indices_train_test.mat"
    write_hdf5(path, {})
    with h5py.File(path, "r+") as file:
        file["indices_img_train"] = h5py.ExternalLink(tmp_path / "pipe", "rows")
    with pytest.raises(CorpusError, match=r"indices_train_test\.mat.*indices_img_train lies in another file"):
        faces(tmp_path)


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path):
    values = labels()
    values[0, 3] = -1
    write(tmp_path, values, indices_img_train=[1, 2, 3])
    (tmp_path / "lfw/Zico/Zico_0001.jpg").unlink()
    (tmp_path / "lfw/Uma_Thurman/Uma_Thurman_0001.jpg").write_bytes(b"")
    reasons = ["values other than 0 and 1", "missing image", "unreadable image"]
    assert [face.reason for face in faces(tmp_path)] == reasons


def test_any_part_can_be_read_alone_and_elsewhere(tmp_path):
    reader = LFWA(str(write(tmp_path, indices_img_train=[1, 2, 3, 4])), "train")
    assert len(reader) == 4 and len(LFWA(str(tmp_path), "train", limit=2)) == 2
    assert list(pickle.loads(pickle.dumps(reader)).faces(1, 3)) == list(reader.faces())[1:3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"indices_img_train": [1, 5]}, r"indices_train_test\.mat.*row 5\b.*\b4\b.*lfw_att_40\.mat"),
        ({"indices_img_train": [0]}, r"indices_train_test\.mat.*row 0\b.*\b4\b.*lfw_att_40\.mat"),
        ({"values": np.zeros((4, 39))}, r"lfw_att_40\.mat.*\blabel\b.*\(4, 39\).*\b4\b.*\b40\b"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, settings, message):
    with pytest.raises(CorpusError, match=message):
        faces(write(tmp_path, **settings))


@pytest.mark.parametrize("missing", ["lfw_att_40.mat", "indices_train_test.mat", "lfw"])
def test_a_folder_without_the_layout_is_refused_by_what_it_lacks(tmp_path, missing):
    (write(tmp_path) / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError, match=f"{missing}.*folder of LFWA"):
        LFWA(str(tmp_path), "train")


def test_a_damaged_file_is_read_or_refused_and_ends_no_process(tmp_path):
    file = write(tmp_path) / "lfw_att_40.mat"
    content = file.read_bytes()
    for place in range(0, len(content), 5):
        file.write_bytes(content[:place] + b"\xff\xff\x07\x00" + content[place + 4 :])
        try:
            assert len(faces(tmp_path)) == 2
        except CorpusError as error:
            assert str(file) in str(error)


@pytest.mark.parametrize(("name", "size"), [("label", 10**10), ("name", 10**6)])
def test_an_hdf5_file_that_claims_more_than_it_has_is_refused(tmp_path, name, size):
    import h5py

    write(tmp_path)
    arrays = {"label": labels(), "name": cells(NAMES), "AttrName": cells(ATTRIBUTES)}
    write_hdf5(tmp_path / "lfw_att_40.mat", arrays)
    with h5py.File(tmp_path / "lfw_att_40.mat", "r+") as file:
        kind = file[name].dtype
        del file[name]
        file.create_dataset(name, (1, size), dtype=kind, chunks=(1, 1000))  # which takes no space before it is written
    with pytest.raises(CorpusError, match=rf"lfw_att_40\.mat.*{name} has more than"):
        faces(tmp_path)
