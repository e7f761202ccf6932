"""LAION-Face's detections: pickles of strangers, read safely, once, and then searched on disk."""

import os
import pickle

import numpy as np
import pytest
import torch

from datasets_scripts.laion_face.detections import Detections, convert_detections
from datasets_scripts.schema import CorpusError
from tests.refusals import refuses


def face(number):
    """As batch-face gives it, which LAION-Face used: NumPy arrays."""
    generator = np.random.default_rng(number)
    return generator.random(4, np.float32), generator.random((5, 2), np.float32), np.float32(generator.random())


def detections(ids):
    return {int(sample): [face(sample + place) for place in range(sample % 3)] for sample in ids}


def row(sample, place=0):
    box, landmarks, score = face(sample + place)
    return [*box, *landmarks.ravel(), score]


def convert(folder, *args):
    return Detections(convert_detections(folder, *args, progress=False))


def test_every_sample_of_every_file_is_found_with_its_faces(tmp_path):
    torch.save(detections(range(900, 100, -7)), tmp_path / "sample2detect_0.pth")
    torch.save(detections([2**50 + 1, 4]), tmp_path / "sample2detect_10.pth")
    found = convert(tmp_path)
    for sample in (*range(900, 100, -7), 2**50 + 1, 4):
        faces = found.find(sample)
        assert faces.shape == (sample % 3, 15) and faces.dtype == np.float32
        np.testing.assert_array_equal(
            faces, np.array([row(sample, place) for place in range(sample % 3)]).reshape(-1, 15)
        )
    assert found.find(5) is None and found.find(2**60) is None


@pytest.mark.parametrize("kind", [list, torch.tensor, np.array])
def test_arrays_lists_and_tensors_are_read_alike_also_from_files_of_the_old_format(tmp_path, kind):
    box, landmarks, score = [1.0, 2.0, 3.0, 4.0], [[5.0, 6.0]] * 5, 0.99
    content = {7: [(kind(box), kind(landmarks), score)]}
    torch.save(content, tmp_path / "sample2detect_0.pth", _use_new_zipfile_serialization=False)
    np.testing.assert_allclose(convert(tmp_path).find(7), [[1, 2, 3, 4, *[5, 6] * 5, 0.99]], rtol=1e-6)


def test_arrays_that_an_old_numpy_pickled_are_read_too(tmp_path):
    path = tmp_path / "sample2detect_0.pth"
    torch.save(detections([1, 2]), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    np.testing.assert_array_equal(convert(tmp_path).find(2), [row(2), row(2, 1)])


class Harmful:
    def __reduce__(self):
        return os.mkdir, (os.environ["HARM"],)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch, save):
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    save({1: Harmful()}, tmp_path / "sample2detect_3.pth")
    with pytest.raises(CorpusError, match=r"sample2detect_3\.pth\b.*download it again, or leave it out"):
        convert(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_a_file_that_was_not_downloaded_to_its_end_is_named(tmp_path):
    torch.save(detections(range(50)), tmp_path / "sample2detect_0.pth")
    content = (tmp_path / "sample2detect_0.pth").read_bytes()
    (tmp_path / "sample2detect_0.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(CorpusError, match=r"sample2detect_0\.pth\b.*download it again, or leave it out"):
        convert(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1, 2], r"\blist\b.*\bdict\b"),
        ({1: [(1, 2)]}, r"\(box, landmarks, score\).*got 2\b"),
        ({"a": []}, r"\(box, landmarks, score\).*'a'"),
        ({1: 5}, r"\(box, landmarks, score\).*'int'"),
    ],
)
def test_something_else_than_detections_is_told(tmp_path, content, told):
    torch.save(content, tmp_path / "sample2detect_0.pth")
    with pytest.raises(CorpusError, match=rf"sample2detect_0\.pth\b.*{told}"):
        convert(tmp_path)


def test_a_conversion_goes_on_where_it_was_and_a_finished_one_is_taken_as_it_is(tmp_path):
    torch.save(detections([3, 4]), tmp_path / "sample2detect_0.pth")
    tables = convert_detections(tmp_path, tmp_path / "tables", progress=False)
    before = os.stat(tmp_path / "tables/sample2detect_0/faces.npy").st_mtime_ns
    torch.save(detections([5]), tmp_path / "sample2detect_1.pth")
    found = convert(tmp_path, tmp_path / "tables")
    assert found.find(4) is not None and found.find(5) is not None
    assert os.stat(tmp_path / "tables/sample2detect_0/faces.npy").st_mtime_ns == before
    assert convert_detections(tables) == tables
    assert len(pickle.dumps(found)) < 500 and pickle.loads(pickle.dumps(found)).find(4) is not None


def test_a_folder_without_detections_is_told(tmp_path):
    with refuses("detections", str(tmp_path), "sample2detect_*.pth"):
        convert_detections(tmp_path)
