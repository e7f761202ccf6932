"""Which model it was, from its folder, so that answers of two are never mixed."""

import json

import torch
from safetensors.torch import save_file

from facemllm.inference.identity import identify


def test_stages_that_trained_only_a_part_in_the_middle_are_told_apart(tmp_path):
    weights = {"language_model": torch.zeros(800_000), "projector": torch.zeros(4_000), "tower": torch.zeros(800_000)}
    save_file(weights, tmp_path / "model.safetensors")
    before = identify(tmp_path)
    assert identify(tmp_path) == before
    save_file(weights | {"projector": torch.ones(4_000)}, tmp_path / "model.safetensors")
    assert identify(tmp_path) != before


def test_settings_tell_models_apart(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"face_tasks": None}))
    before = identify(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"face_tasks": {}}))
    assert identify(tmp_path) != before
    assert identify("org/name") is None
