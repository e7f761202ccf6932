"""Damaged label files of every dataset: each row is a sound face or counted, or the file is refused in a line."""

import shutil

import pytest
from hypothesis import strategies as st

from datasets_scripts.schema import CorpusError, Skipped, assistant_turn, make_record, user_turn, validate_record
from datasets_scripts.sources.readers import READERS
from tests.datasets_scripts.sources import test_affectnet, test_fairface_parquet, test_lfwa
from tests.datasets_scripts.sources.miniatures import WRITERS
from tests.robustness.cases import assert_one_line, bounded, fuzzed
from tests.robustness.mutations import FRAGMENTS, mutated

COST = {"seconds": 5, "mebibytes": 200}
LABELS = (".csv", ".txt", ".mat", ".cal", ".npy", ".xml", ".parquet")
NAMED = ("utkface", "agedb")
"""Datasets whose labels are the names of their pictures."""


def _lfwa_of_matlab_7(root):
    test_lfwa.write(root)
    arrays = {"label": test_lfwa.labels(), "name": test_lfwa.cells(test_lfwa.NAMES)}
    test_lfwa.write_hdf5(root / "lfw_att_40.mat", arrays | {"AttrName": test_lfwa.cells(test_lfwa.ATTRIBUTES)})


def _affectnet_of_arrays(root):
    test_affectnet.write_arrays(root, (1, 0.5, -0.25), (7, -2, -2))


def _fairface_of_parquet(root):
    for split in ("train", "val"):
        test_fairface_parquet.write(root / f"{split}.parquet", test_fairface_parquet.rows(*range(6), split=split))


LAYOUTS = WRITERS | {
    "lfwa (HDF5)": _lfwa_of_matlab_7,
    "affectnet (NumPy)": _affectnet_of_arrays,
    "fairface (Parquet)": _fairface_of_parquet,
}


@pytest.fixture(scope="module", params=sorted(LAYOUTS.keys() - set(NAMED)))
def miniature(request, tmp_path_factory):
    """The dataset's name and folder, and its label files by their paths."""
    root = tmp_path_factory.mktemp("labels")
    LAYOUTS[request.param](root)
    files = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.suffix in LABELS}
    assert files
    check(request.param, root)
    return request.param, root, files


def check(name, root):
    reader = READERS[name.partition(" ")[0]]
    for split in reader.SPLITS[:2]:
        with bounded(f"label files: {name}", **COST):
            try:
                opened = reader(str(root), split)
                assert isinstance(opened.describe(), dict)
                found = list(opened.faces())
                assert len(opened) == len(found)
            except CorpusError as error:
                assert_one_line(error)
                continue
        for face in found:
            if isinstance(face, Skipped):
                assert_one_line(ValueError(face.reason))
            else:
                validate_record(record_of(face))
                f"{face.id}{face.url}{face.image['path']}".encode()


def record_of(face):
    return make_record(
        id=face.id,
        messages=[user_turn("?", image=True), assistant_turn("!")],
        task="any",
        split=face.split,
        source=face.source,
        license=face.license,
        image=face.image,
        url=face.url,
        box=face.box,
        landmarks=face.landmarks,
        labels=face.labels,
    )


@fuzzed(data=st.data())
def test_damaged_label_files(miniature, data):
    name, root, files = miniature
    path = data.draw(st.sampled_from(sorted(files)))
    try:
        path.write_bytes(data.draw(mutated([files[path]], FRAGMENTS)))
        check(name, root)
    finally:
        path.write_bytes(files[path])


@pytest.mark.parametrize("name", NAMED)
@fuzzed(text=mutated([b"25_0_1_20170116174525125.jpg", b"12_AlGore_57_m.jpg"], FRAGMENTS))
def test_pictures_with_hostile_names(name, tmp_path_factory, text):
    root = tmp_path_factory.mktemp(name)
    try:
        WRITERS[name](root)
        hostile = text.replace(b"/", b"").replace(b"\0", b"")[:200] + b".jpg"
        shutil.copy(next(root.rglob("*.jpg")), bytes(root) + b"/" + hostile)
        check(name, root)
    finally:
        shutil.rmtree(root)
