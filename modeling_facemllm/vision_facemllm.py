"""The project's own small vision tower, which a laptop can train: from scratch, or from EfficientNet-Lite's weights.

Convolutions come first because transformers without them learn much slower at this size; their normalisation is
GroupNorm because frozen BatchNorm statistics drift whenever the whole model is put into training mode. EfficientNet's
blocks have none: their BatchNorm is folded into the convolutions before they come here.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from .configuration_facemllm import FaceMLLMVisionConfig

if TYPE_CHECKING:  # not needed here: transformers 4.57 copies from a folder only what is named in the file it loads
    from .errors_facemllm import ArgumentError  # noqa: F401
    from .versions_facemllm import TESTED  # noqa: F401


class FaceMLLMVisionStage(nn.Module):
    """Halves the grid, then refines it with a residual convolution: `(B, C, H, W)` to `(B, C', H / 2, W / 2)`."""

    def __init__(self, in_channels: int, out_channels: int, eps: float):
        super().__init__()
        groups = next(size for size in (8, 4, 2, 1) if out_channels % size == 0)
        self.downsample = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1)
        self.norm_1 = nn.GroupNorm(groups, out_channels, eps=eps)
        self.conv = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.norm_2 = nn.GroupNorm(groups, out_channels, eps=eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states = nn.functional.relu(self.norm_1(self.downsample(hidden_states)))
        return nn.functional.relu(hidden_states + self.norm_2(self.conv(hidden_states)))


class FaceMLLMVisionConv(nn.Conv2d):
    """A convolution, and ReLU6 behind it, whose zeros around the image lie as TensorFlow's "SAME" puts them.

    With a stride of two that is one less at the top and left: weights from there are right with no other.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        even = before == after  # then the convolution pads by itself, which spares a copy of the image
        super().__init__(in_channels, out_channels, kernel, stride, padding=before if even else 0, groups=groups)
        self.around = None if even else (before, after, before, after)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.around is not None:
            hidden_states = nn.functional.pad(hidden_states, self.around)
        return nn.functional.relu6(super().forward(hidden_states), inplace=True)


class FaceMLLMVisionStem(nn.Module):
    """The first convolution of an EfficientNet-Lite: `(B, 3, H, W)` to `(B, C, H / 2, W / 2)`."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.downsample = FaceMLLMVisionConv(in_channels, out_channels, kernel=3, stride=2)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.downsample(hidden_states)


class FaceMLLMVisionInvertedResidual(nn.Module):
    """EfficientNet-Lite's block, after MobileNetV2: widen, convolve each channel by itself, narrow without ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = in_channels * expansion
        self.expand = FaceMLLMVisionConv(in_channels, wide) if expansion > 1 else None
        self.depthwise = FaceMLLMVisionConv(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, out_channels, kernel_size=1)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        wide = hidden_states if self.expand is None else self.expand(hidden_states)
        narrow = self.project(self.depthwise(wide))
        return hidden_states + narrow if self.is_residual else narrow


def vision_stages(config: FaceMLLMVisionConfig) -> Iterator[nn.Module]:
    """The convolutions of a tower, in their order; see [`FaceMLLMVisionConfig`]."""
    if config.inverted_residuals is None:
        for before, after in pairwise([config.num_channels, *config.stem_channels]):
            yield FaceMLLMVisionStage(before, after, config.layer_norm_eps)
        return
    width = config.stem_channels[0]
    yield FaceMLLMVisionStem(config.num_channels, width)
    for kernel, stride, expansion, channels, repeats in config.inverted_residuals:
        for repeat in range(repeats):
            yield FaceMLLMVisionInvertedResidual(width, channels, kernel, 1 if repeat else stride, expansion)
            width = channels


class FaceMLLMVisionLayer(GradientCheckpointingLayer):
    """Pre-norm transformer layer over `(B, N, hidden_size)`."""

    def __init__(self, config: FaceMLLMVisionConfig):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.norm_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        batch, length, width = hidden_states.shape
        qkv = self.qkv(self.norm_1(hidden_states)).view(batch, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, width / heads)
        attentions = None
        if output_attentions:
            attentions = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
            attended = attentions @ value
        else:
            attended = nn.functional.scaled_dot_product_attention(query, key, value)
        hidden_states = hidden_states + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return hidden_states + self.fc2(nn.functional.gelu(self.fc1(self.norm_2(hidden_states)))), attentions


class FaceMLLMVisionModel(PreTrainedModel):
    """The small tower: `pixel_values` of shape `(B, 3, image_size, image_size)` to one feature per grid cell."""

    config_class = FaceMLLMVisionConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    # Attention here is always torch's own kernel choice; the flags only let a composed model pick its text attention.
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = [
        "FaceMLLMVisionStage",
        "FaceMLLMVisionStem",
        "FaceMLLMVisionInvertedResidual",
        "FaceMLLMVisionLayer",
    ]

    def __init__(self, config: FaceMLLMVisionConfig):
        super().__init__(config)
        self.stages = nn.ModuleList(vision_stages(config))
        width = config.inverted_residuals[-1][3] if config.inverted_residuals else config.stem_channels[-1]
        self.patch_projection = nn.Linear(width, config.hidden_size)
        self.position_embedding = nn.Embedding((config.image_size // config.patch_size) ** 2, config.hidden_size)
        self.layers = nn.ModuleList(FaceMLLMVisionLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.stages[0].downsample

    def _init_weights(self, module: nn.Module):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    def forward(
        self,
        pixel_values: torch.FloatTensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool = True,
        **kwargs,
    ) -> BaseModelOutput | tuple:
        """Encode images.

        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch, num_channels, image_size, image_size)`):
                Normalised images.
            output_hidden_states (`bool`): also return the input of every layer and the output of the last.
            output_attentions (`bool`): also return each layer's weights, `(batch, heads, grid * grid, grid * grid)`.
                Both default to what the configuration says.

        Returns:
            `last_hidden_state` of shape `(batch, grid * grid, hidden_size)`, after the final normalisation.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        size = self.config.image_size
        if pixel_values.shape[-2:] != (size, size):
            height, width = pixel_values.shape[-2:]
            raise ValueError(
                f"pixel_values are {height}×{width}, but this tower takes {size}×{size}: resize the images"
            )
        # A convolution's type: a quantizer replaces what linear layers hold.
        grid = pixel_values.to(self.stages[0].downsample.weight.dtype)
        if self.config.inverted_residuals is not None:
            grid = grid.contiguous(memory_format=torch.channels_last)  # a third less time on a CPU
        for stage in self.stages:
            grid = stage(grid)
        tokens = grid.flatten(2).transpose(1, 2)  # (B, grid * grid, channels of the last stage)
        # Through the module: where weights are offloaded, its hook brings them.
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        tokens = self.patch_projection(tokens) + self.position_embedding(positions)
        hidden_states, attentions = (tokens,), ()
        for layer in self.layers:
            tokens, weights = layer(tokens, output_attentions)
            hidden_states += (tokens,)
            attentions += (weights,)
        tokens = self.norm(tokens)
        output = BaseModelOutput(
            last_hidden_state=tokens,
            hidden_states=hidden_states if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
        )
        return output if return_dict else output.to_tuple()


FaceMLLMVisionModel.register_for_auto_class("AutoModel")
