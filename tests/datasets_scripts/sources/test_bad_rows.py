"""A row that says again what an earlier one said is no second face, and a number beyond all bounds is no label."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets_scripts.build import build_corpus
from datasets_scripts.schema import Skipped
from datasets_scripts.sources.affectnet import AffectNet
from datasets_scripts.sources.biwi import face_box
from datasets_scripts.sources.bp4d import read_occurrences
from datasets_scripts.sources.celeba import CelebA
from datasets_scripts.sources.disfa import read_intensities
from datasets_scripts.sources.fairface import FairFace, read_age_group
from datasets_scripts.sources.maad_face import MAADFace
from datasets_scripts.sources.morph import MORPH
from datasets_scripts.sources.raf_db import RAFDB
from datasets_scripts.sources.readers import READERS
from tests.datasets_scripts.sources import (
    test_affectnet,
    test_celeba,
    test_fairface,
    test_maad_face,
    test_morph,
    test_raf_db,
)

REPEATED = "id of an earlier row"
LONG = "9" * 5000


def celeba(root):
    files = [*test_celeba.FILES, test_celeba.FILES[-1]]
    test_celeba.write(root, marks=[()] * 7, files=files, partition=list(zip(files, [0] * 7, strict=True)))


DATASETS = {  # what writes its folder, and the label file whose last line is repeated (CelebA's is written so)
    FairFace: (test_fairface.write_folder, "fairface_label_val.csv"),
    RAFDB: (test_raf_db.write, "EmoLabel/list_patition_label.txt"),
    AffectNet: (
        lambda root: test_affectnet.write_csv(root, (1, 0.1, 0.2), (2, 0.3, 0.4)),
        "Manually_Annotated_file_lists/training.csv",
    ),
    MAADFace: (test_maad_face.write, "MAAD_Face.csv"),
    MORPH: (lambda root: test_morph.write(root, {}, {}, {}), "morph_2008_nonCommercial.csv"),
    CelebA: (celeba, None),
}


@pytest.mark.parametrize("reader", DATASETS)
def test_a_row_that_is_repeated_is_counted_and_no_second_face(tmp_path, reader):
    write, file = DATASETS[reader]
    write(tmp_path)
    if file is not None:
        lines = (tmp_path / file).read_bytes().splitlines()
        (tmp_path / file).write_bytes(b"\n".join([*lines, lines[-1], b""]))
    found = []
    for split in reader.SPLITS:
        try:
            found += reader(str(tmp_path), split).faces()
        except ValueError:  # a split that the stand-in does not have
            continue
    ids = [face.id for face in found if not isinstance(face, Skipped)]
    assert len(ids) == len(set(ids)) > 1
    assert [face.reason for face in found if isinstance(face, Skipped)].count(REPEATED) == 1


def test_two_pictures_that_would_have_one_id_are_told_apart_by_counting(tmp_path):
    row = test_fairface.ROWS[0]
    test_fairface.write_folder(tmp_path, rows=[row, ("val/1.png", *row[1:])])
    assert [getattr(face, "reason", face.id) for face in test_fairface.faces(tmp_path)] == ["fairface/val/1", REPEATED]


def test_a_corpus_of_a_label_file_with_repeated_rows_counts_each_face_once(tmp_path):
    (tmp_path / "fairface").mkdir()
    test_fairface.write_folder(tmp_path / "fairface", rows=[*test_fairface.ROWS] * 3)
    options = {"splits": ["validation"], "configs": ["face_tasks"], "progress": False, "shard_rows": 2, "num_proc": 2}
    report = build_corpus("fairface", tmp_path / "fairface", tmp_path / "out", **options)
    counted = report["configs"]["face_tasks"]["validation"]
    assert counted["rows"] == 3 and counted["skipped"] == {REPEATED: 6}


def test_a_number_of_5000_digits_is_no_label(tmp_path):
    assert read_age_group(LONG) is None
    (tmp_path / "units.csv").write_text(f"0,1,{LONG}\n1,{LONG},0\n")
    assert read_occurrences(tmp_path / "units.csv") == {1: {1: 9.0}}
    (tmp_path / "au1.txt").write_text(f"1,{LONG}\n2,3\n")
    assert read_intensities(tmp_path / "au1.txt") == {1: -1.0, 2: 3.0}


@pytest.mark.parametrize("box", [f"1 2 {LONG} 4", "-inf 0 5 5", "1e300 2 2e300 4"])
def test_a_box_beyond_single_precision_is_none(tmp_path, box):
    test_raf_db.write(tmp_path)
    for path in (tmp_path / "Annotation/boundingbox").iterdir():
        path.unlink()
    (tmp_path / "Annotation/boundingbox/train_00001_boundingbox.txt").write_text(box)
    assert test_raf_db.faces(tmp_path, aligned=False)[0].box is None


def test_a_camera_beyond_single_precision_gives_no_box():
    identity = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    assert face_box((0, 0, 900.0), [[1e300, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], identity, (0, 0, 0)) is None


def saved(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4 no archive",
        saved(lambda file: np.savez(file, a=np.ones(3))),
        saved(lambda file: np.save(file, np.zeros(2, dtype=[("a", "f4"), ("b", "f4")]))),
        saved(lambda file: np.save(file, np.array([1e300]))),
        saved(lambda file: np.save(file, np.zeros(3))).replace(b"(3,)", b"(9999999999999,)"),
        saved(lambda file: np.save(file, np.zeros(10**5))),
    ],
)
def test_a_numpy_file_of_something_else_is_no_label(tmp_path, content):
    test_affectnet.write_arrays(tmp_path, (1, 0.1, 0.2), (2, 0.3, 0.4))
    Path(tmp_path / "train_set/annotations/0_exp.npy").write_bytes(content)
    found = test_affectnet.faces(tmp_path)
    assert [getattr(face, "reason", None) for face in found] == ["no label of the expression", None]


@pytest.mark.parametrize(("name", "labelled"), [("utkface", "25_0_1_20170116.jpg"), ("agedb", "3_AlGore_57_m.jpg")])
def test_names_that_are_no_utf8_are_rows_as_others(tmp_path, name, labelled):
    folder = bytes(tmp_path) + b"/part\x80"
    os.mkdir(folder)
    for file in (labelled.encode(), b"\xff_12.jpg"):
        with open(folder + b"/" + file, "wb") as out:
            Image.new("RGB", (16, 16)).save(out, "JPEG")
    reader = READERS[name]
    rows = [row for split in reader.SPLITS for row in reader(str(tmp_path), split).faces()]
    (face,) = [row for row in rows if not isinstance(row, Skipped)]
    assert [row.reason for row in rows if isinstance(row, Skipped)] == ["malformed name"]
    assert f"{face.id}{face.url}{face.image['path']}".encode()
