"""A model is warned of pictures of another kind than it knows: once, on standard error, and it goes on."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from datasets_scripts.synthetic.faces import draw_face, sample_labels
from facemllm.analysis.picture_kind import DRAWINGS, PHOTOGRAPHS, KindCheck, picture_kind
from facemllm.cli import main


def drawing(index=0, size=64):
    return draw_face(sample_labels(index, 0, "test"), index, 0, "test", size)


def textured(size=224):
    """Soft shapes and grain, as a lens gives them: what stands for a photograph here."""
    random = np.random.default_rng(0)
    shapes = Image.fromarray(random.integers(40, 216, (6, 6, 3), dtype=np.uint8))
    soft = np.asarray(shapes.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
    return Image.fromarray(np.clip(soft + random.normal(0, 6, soft.shape), 0, 255).astype(np.uint8))


def as_jpeg(image, quality=75):
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return Image.open(encoded)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: as_jpeg(image, 90),
        lambda image: image.resize((224, 224), Image.Resampling.BICUBIC),
        lambda image: image.convert("L"),
        lambda image: image.convert("RGBA"),
    ],
    ids=["png", "jpeg", "enlarged", "gray", "alpha"],
)
def test_a_drawn_face_is_a_drawing_however_it_is_stored(change):
    assert picture_kind(change(drawing())) == DRAWINGS


@pytest.mark.parametrize("size", [64, 224, 1000])
def test_what_has_texture_and_soft_borders_is_a_photograph(size):
    assert picture_kind(textured(size)) == PHOTOGRAPHS


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3000, 2)])
def test_any_picture_has_an_answer(size):
    assert picture_kind(Image.new("RGB", size)) in (DRAWINGS, PHOTOGRAPHS, None)


def test_one_warning_however_many_pictures(capsys):
    check = KindCheck(DRAWINGS, "ask")
    assert len(list(check.passing([textured(), drawing(), textured()]))) == 3
    assert capsys.readouterr().err == (
        "facemllm ask: these look like photographs; this model knows drawn faces only: use --model photo\n"
    )


@pytest.mark.parametrize(("knows", "picture"), [(None, drawing()), (DRAWINGS, drawing()), (PHOTOGRAPHS, textured())])
def test_no_warning_of_what_the_model_knows_and_none_where_it_does_not_say(knows, picture, capsys):
    KindCheck(knows, "ask").look_at(picture)
    assert capsys.readouterr().err == ""


def test_of_a_photo_the_faces_are_looked_at_and_not_what_surrounds_them(capsys):
    wall = Image.new("RGB", (600, 400), "gray")
    wall.paste(textured(), (100, 100))

    class Found:
        box = (150, 150, 274, 274)

    check = KindCheck(PHOTOGRAPHS, "analyze")
    assert len(check.detecting(lambda image: [Found()])(wall)) == 1
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def of_kind(tiny_model, tmp_path_factory):
    """The tiny model's folder, made to know one kind of pictures."""

    def make(kind):
        folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("kind") / "model")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "picture_kind": kind}))
        return folder

    return make


@pytest.mark.parametrize("command", ["ask", "analyze"])
def test_a_command_warns_and_goes_on(command, of_kind, face_png, capsys):
    model = str(of_kind(PHOTOGRAPHS))
    words = {"ask": ["Hat?", "--max-new-tokens", "2"], "analyze": ["--detector", "none", "--tasks", "gender"]}[command]
    assert main([command, model, str(face_png), *words, "--device", "cpu"]) == 0
    told = capsys.readouterr()
    assert told.err.count("these look like drawings; this model knows photographs only") == 1 and told.out
