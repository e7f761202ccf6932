"""MATLAB files, sound and damaged; SciPy writes them and says what is in them."""

import os

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from datasets_scripts.sources.matlab import read_matlab

NAMES = ("Pose_Para", "pt2d")
GENERATOR = np.random.default_rng(0)


def write(path, compressed=True, **more):
    """A file like one of 300W-LP's, with other kinds of variables among the matrices."""
    arrays = {"note": "text", "cell": np.array(["a", 1], dtype=object), "settings": {"size": 3}}
    arrays |= {"Pose_Para": GENERATOR.normal(size=(1, 7)), "pt2d": GENERATOR.normal(size=(2, 68)) * 450, **more}
    savemat(path, arrays, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_matrices_are_those_that_scipy_reads(tmp_path, compressed):
    more = {"single": np.float32([[1.5, 2.5]]), "whole": np.int16([[1], [-2]]), "small": np.uint8([[7]])}
    path = write(tmp_path / "whole.mat", compressed, **more, empty=np.zeros((0, 3)))
    names = (*NAMES, *more, "empty")
    read, expected = read_matlab(path, names), loadmat(path, variable_names=names)
    assert set(read) == set(names)
    assert all(array.dtype == np.float64 and np.array_equal(array, expected[name]) for name, array in read.items())


def test_only_real_matrices_that_are_asked_for_are_given(tmp_path):
    path = write(tmp_path / "whole.mat", turned=np.array([[1 + 2j]]))
    assert set(read_matlab(path, ("pt2d", "absent", "note", "cell", "settings", "turned"))) == {"pt2d"}


def test_whole_numbers_that_matlab_packs_into_fewer_bytes_are_unpacked(tmp_path):
    content = bytearray(write(tmp_path / "packed.mat", compressed=False, packed=np.float64([[3.0]])).read_bytes())
    place = content.rindex(
        b"\x09\x00\x00\x00\x08\x00\x00\x00"
    )  # a double of eight bytes becomes a byte in a small element
    content[place : place + 16] = b"\x02\x00\x01\x00\x05\x00\x00\x00"
    sizes = place - 8 * 6 - 8 + 4  # flags, dimensions and name are 16 bytes each, behind the matrix's own tag
    content[sizes : sizes + 4] = (48 + 8).to_bytes(4, "little")
    (tmp_path / "packed.mat").write_bytes(content)
    assert read_matlab(tmp_path / "packed.mat", ("packed",))["packed"].tolist() == [[5.0]]


def test_a_file_that_is_not_there_is_a_missing_label_file(tmp_path):
    assert read_matlab(tmp_path / "nowhere.mat", NAMES) == "missing label file"


@pytest.mark.parametrize(
    "content",
    [b"", b"no matrix", bytes(500), b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM\x89HDF\r\n\x1a\n" + bytes(500)],
    ids=["empty", "text", "zeros", "7.3"],
)
def test_another_file_is_an_unreadable_label_file(tmp_path, content):
    (tmp_path / "other.mat").write_bytes(content)
    assert read_matlab(tmp_path / "other.mat", NAMES) == "unreadable label file"


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_cut_off_anywhere_gives_a_reason_or_what_is_whole_in_it(tmp_path, compressed):
    path = write(tmp_path / "cut.mat", compressed)
    content, whole = path.read_bytes(), read_matlab(path, NAMES)
    for length in range(0, len(content), 5):
        path.write_bytes(content[:length])
        read = read_matlab(path, NAMES)
        assert read == "unreadable label file" or all(np.array_equal(read[name], whole[name]) for name in read)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_with_damaged_bytes_gives_a_reason_or_matrices(tmp_path, compressed):
    path = write(tmp_path / "damaged.mat", compressed)
    content = path.read_bytes()
    for _ in range(1000):
        damaged = bytearray(content)
        for place in GENERATOR.integers(0, len(content), 2):
            damaged[place] ^= int(GENERATOR.integers(1, 256))
        path.write_bytes(damaged)
        read = read_matlab(path, NAMES)
        assert read == "unreadable label file" or all(array.ndim == 2 for array in read.values())


def test_what_is_larger_than_the_limit_is_read_no_further(tmp_path):
    large = tmp_path / "large.mat"
    large.write_bytes(write(tmp_path / "small.mat").read_bytes() + bytes(16 * 2**20))
    assert read_matlab(large, NAMES) == "label file of more than 16 MiB"
    several = {f"zeros{number}": np.zeros((1, 2**20)) for number in range(3)}  # 8 MiB each, and some kB compressed
    savemat(tmp_path / "bomb.mat", {**several, "Pose_Para": np.ones((1, 7))}, do_compression=True)
    assert read_matlab(tmp_path / "bomb.mat", NAMES) == "unreadable label file"


def test_a_pipe_is_no_label_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.mat")
    assert read_matlab(tmp_path / "pipe.mat", NAMES) == "missing label file"
