"""Photos with faces, and `facemllm analyze` run on them."""

import pytest

from datasets_scripts.synthetic.faces import draw_face, sample_labels
from facemllm.cli import main
from tests.datasets_scripts.laion_face.img2dataset_folder import encode


@pytest.fixture(scope="module")
def faces():
    return [encode(draw_face(sample_labels(0, index, "test"), 0, index, "test").convert("RGB")) for index in range(6)]


@pytest.fixture
def photos(tmp_path, faces):
    """A folder of six photos, one of them a folder further down, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for index, face in enumerate(faces):
        name = f"sub/{index}.jpg" if index == 5 else f"face{2 * index + 1}.jpg"
        (folder / name).write_bytes(face)
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture
def analyze(tiny_model, capsys):
    """The command, with every photo taken for one face unless a detector is given: exit code, output, errors."""

    def run(*words, detector="none", model=tiny_model):
        rc = main(["analyze", str(model), *map(str, words), "--detector", str(detector), "--device", "cpu"])
        return rc, *capsys.readouterr()

    return run
