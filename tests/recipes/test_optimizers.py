"""Muon with AdamW: which parameter is whose, and that a scheduler and a checkpoint reach both."""

import copy

import pytest
import torch

from facemllm_recipes.optimizers import Muon, MuonWithAdamW, hidden_matrices, orthogonalized
from modeling_facemllm import FaceMLLMForConditionalGeneration


def model_of(towers) -> FaceMLLMForConditionalGeneration:
    return FaceMLLMForConditionalGeneration.from_towers(towers["vision"], towers["text"], pixel_shuffle_factor=2)


def test_muon_gets_hidden_linear_weights_and_adamw_the_rest(towers):
    model = model_of(towers)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices, others = ({names[id(parameter)] for parameter in part} for part in hidden_matrices(model))
    assert (
        "model.language_model.layers.0.mlp.up_proj.weight" in matrices
        and "model.projector.linear_1.weight" in matrices
    )
    assert "model.language_model.embed_tokens.weight" in others and "model.vision_tower.stages.0.conv.weight" in others
    assert "lm_head.weight" not in matrices
    assert matrices | others == set(names.values()) and not matrices & others


def test_frozen_parameters_are_left_out(towers):
    model = model_of(towers)
    model.requires_grad_(False)
    model.model.projector.requires_grad_(True)
    matrices, others = hidden_matrices(model)
    assert len(matrices) == 2 and len(others) == 2  # two layers: weights and biases


def test_a_scheduler_reaches_both_optimisers():
    optimizer = MuonWithAdamW(*hidden_matrices(torch.nn.Linear(4, 4)), lr=1.0)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_a_restored_state_steps_as_the_first_one_would_have():
    def steps(model, optimizer, count):
        for _ in range(count):
            model(torch.ones(1, 4)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    torch.manual_seed(0)
    first = torch.nn.Linear(4, 4)
    optimizer = MuonWithAdamW(*hidden_matrices(first), lr=0.1)
    steps(first, optimizer, 3)
    second = torch.nn.Linear(4, 4)
    second.load_state_dict(first.state_dict())
    restored = MuonWithAdamW(*hidden_matrices(second), lr=0.1)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # as from a file
    steps(first, optimizer, 2)
    steps(second, restored, 2)
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)


@pytest.mark.parametrize("shape", [(48, 32), (16, 64)])
def test_steps_are_those_of_torchs_muon_but_for_its_rounding(shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    own, torchs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    settings = {"lr": 0.01, "weight_decay": 0.1}
    optimizers = [
        Muon([own], **settings),
        torch.optim.Muon([torchs], **settings, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
    ]
    for seed in range(5):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
        for matrix, optimizer in zip((own, torchs), optimizers, strict=True):
            matrix.grad = gradient.clone()
            optimizer.step()
    assert (own - torchs).abs().mean() < 0.02 * (own - start).abs().mean()


def test_an_update_is_nearly_orthogonal():
    matrix = torch.randn(20, 60, generator=torch.Generator().manual_seed(0))
    assert (
        0.5
        < torch.linalg.svdvals(orthogonalized(matrix)).min()
        < torch.linalg.svdvals(orthogonalized(matrix)).max()
        < 1.5
    )
