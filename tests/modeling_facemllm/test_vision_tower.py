"""The project's own vision tower with EfficientNet-Lite's blocks in it."""

import pytest
import torch
from torch.nn import functional

from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel
from modeling_facemllm.vision_facemllm import FaceMLLMVisionConv
from tests.refusals import refuses

ROWS = [[3, 1, 1, 8, 1], [5, 2, 6, 16, 2], [3, 2, 6, 24, 2]]


def lite(**changes) -> FaceMLLMVisionConfig:
    shape = {"image_size": 32, "stem_channels": [8], "inverted_residuals": ROWS, "hidden_size": 16}
    return FaceMLLMVisionConfig(**{**shape, "num_hidden_layers": 0, "num_attention_heads": 2, **changes})


def test_each_stride_halves_the_grid():
    assert lite().patch_size == 8
    features = FaceMLLMVisionModel(lite())(torch.zeros(2, 3, 32, 32)).last_hidden_state
    assert features.shape == (2, 16, 16)


def test_transformer_layers_may_follow_the_blocks():
    tower = FaceMLLMVisionModel(lite(num_hidden_layers=2, intermediate_size=32))
    states = tower(torch.zeros(1, 3, 32, 32), output_hidden_states=True).hidden_states
    assert len(states) == 3


@pytest.mark.parametrize(("kernel", "around"), [(3, (0, 1, 0, 1)), (5, (1, 2, 1, 2))])
def test_zeros_lie_around_the_image_as_tensorflow_puts_them(kernel, around):
    convolution = FaceMLLMVisionConv(3, 4, kernel, stride=2)
    pixels = torch.randn(1, 3, 8, 8)
    padded = functional.pad(pixels, around)
    expected = functional.conv2d(padded, convolution.weight, convolution.bias, stride=2).clamp(0, 6)
    torch.testing.assert_close(convolution(pixels), expected)


def test_a_block_adds_its_input_where_nothing_changes_shape():
    tower = FaceMLLMVisionModel(lite())
    assert [stage.is_residual for stage in tower.stages[1:]] == [True, False, True, False, True]


def test_a_saved_tower_answers_alike(tmp_path):
    tower = FaceMLLMVisionModel(lite()).eval()
    tower.save_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 32, 32)
    again = FaceMLLMVisionModel.from_pretrained(tmp_path)
    assert torch.equal(again(pixels).last_hidden_state, tower(pixels).last_hidden_state)


@pytest.mark.parametrize("rows", [[[3, 1, 1, 8]], [[3, 3, 1, 8, 1]], [["3", 1, 1, 8, 1]], [[3, 1, 1, 8, 0]]])
def test_rows_that_are_no_blocks_are_refused(rows):
    with refuses("inverted_residuals", rows, "kernel, stride"):
        lite(inverted_residuals=rows)


def test_one_convolution_stands_before_the_blocks():
    with refuses("stem_channels", [8, 8], "one width"):
        lite(stem_channels=[8, 8])
