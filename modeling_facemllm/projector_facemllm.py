"""The MLP between a vision tower and a language model."""

import torch
from torch import nn
from transformers.activations import ACT2FN

from .configuration_facemllm import FaceMLLMConfig


class FaceMLLMProjector(nn.Module):
    """Two-layer MLP from vision features to the language model's width; merges neighbouring patches first."""

    def __init__(self, config: FaceMLLMConfig):
        super().__init__()
        self.pixel_shuffle_factor = config.pixel_shuffle_factor
        in_features = config.vision_config.hidden_size * len(config.feature_layers) * self.pixel_shuffle_factor**2
        self.linear_1 = nn.Linear(in_features, config.text_config.hidden_size)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(config.text_config.hidden_size, config.text_config.hidden_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`(images, tokens, vision width)` to `(images, tokens / factor², text width)`."""
        if self.pixel_shuffle_factor > 1:
            features = pixel_shuffle(features, self.pixel_shuffle_factor)
        return self.linear_2(self.act(self.linear_1(features)))


def pixel_shuffle(features: torch.Tensor, factor: int) -> torch.Tensor:
    """Merge each `factor × factor` square of a row-major grid into one token (space to depth).

    Args:
        features (`torch.Tensor` of shape `(images, side * side, channels)`): patches of a square grid.
        factor (`int`): side of the squares; it divides the grid's side.

    Returns:
        `torch.Tensor` of shape `(images, (side / factor)², channels * factor²)`.
    """
    images, patches, channels = features.shape
    side = round(int(patches) ** 0.5)  # int: torch.jit, which Optimum exports with, gives sizes as tensors
    grid = features.view(images, side // factor, factor, side // factor, factor, channels)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(images, (side // factor) ** 2, channels * factor * factor)
