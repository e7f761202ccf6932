"""The precisions of an export, as data: what each is traced in, how exactly it answers, what its weights become."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class BlockWise:
    """Integers of `bits` bits with a scale for each `block_size` input features of each output feature.

    `weight ≈ (integer − 2^(bits − 1)) · scale`. Zero points of their own made the answers of trained models no better.
    """

    bits: int
    block_size: int = 32

    def within(self, features: int) -> "BlockWise":
        """The same with blocks no longer than so many features need; a block is a power of two, and 16 at least."""
        return replace(self, block_size=min(self.block_size, max(16, 1 << (features - 1).bit_length())))


@dataclass(frozen=True)
class Dynamic:
    """Integers up to `largest` with a scale for each output feature; activations are rounded to 8 bits when they come.

    Two or three times as fast as `BlockWise` where many rows are multiplied at once, less exact: all activations of a
    product share one scale. Up to 63, sums of two products fit into 16 bits, beyond which x86 processors without VNNI
    cut them off.
    """

    largest: int = 63


@dataclass(frozen=True)
class WeightPrecision:
    """What a precision makes of the weights: of products that see pictures alone (vision tower, projector), of those
    of the language model, of its head, and of the embedding table."""

    pictures: BlockWise | Dynamic
    language: BlockWise | Dynamic
    head: BlockWise
    embedding: BlockWise


@dataclass(frozen=True)
class FloatPrecision:
    """A number type that graphs are traced in.

    Args:
        dtype: of the language model and its head, as torch calls it.
        tolerance: how far a logit may be from the model's, relative to the largest one of its step.
        vision_dtype: of vision tower and projector, where that is another.
        fused_on: the devices where attention, rotation and norms can each become one operator for one row.
        refused_by: why a device or a backend does not take it, and what it takes.
    """

    dtype: str
    tolerance: float
    vision_dtype: str | None = None
    fused_on: tuple[str, ...] = DEVICES
    refused_by: Mapping[str, str] = field(default_factory=dict)


FLOATS = {
    # CUDA's attention over a cache takes half precision only: ONNX Runtime would take a float32 one to the CPU.
    "fp32": FloatPrecision("float32", tolerance=1e-4, fused_on=("cpu",)),
    "fp16": FloatPrecision("float16", tolerance=2e-2),
    "bf16": FloatPrecision(
        "bfloat16",
        tolerance=1e-1,
        # ONNX Runtime has no convolution in bfloat16, on any device, and every vision tower has one.
        vision_dtype="float32",
        refused_by={
            "cpu": "ONNX Runtime's CPU provider has no bfloat16 kernels; take fp32, int8 or int4, or the device cuda",
            "optimum": "Optimum does not trace it; take fp16, or the backend transformers",
        },
    ),
}
TRACED = {"cpu": "fp32", "cuda": "fp16"}
"""Which of `FLOATS` the graphs are traced in whose weights then become integers, by device."""
HEAD, TABLE = BlockWise(8, 128), BlockWise(8)
# Chosen by what trained models answer and how long a decoding step takes: blocks of 32 take 1.11 times as long as of
# 64 and answer no more questions rightly; a head in 4 bits is no faster than one of 8 in blocks of 128, but worse.
# CUDA has no kernel for `Dynamic`.
QUANTIZED = {
    "int8": {
        "cpu": WeightPrecision(Dynamic(), Dynamic(), HEAD, TABLE),
        "cuda": WeightPrecision(BlockWise(8), BlockWise(8), HEAD, TABLE),
    },
    "int4": {
        "cpu": WeightPrecision(Dynamic(), BlockWise(4, 64), HEAD, TABLE),
        "cuda": WeightPrecision(BlockWise(8), BlockWise(4, 64), HEAD, TABLE),
    },
}
"""What becomes of the weights, by precision and device."""
PRECISIONS = (*FLOATS, *QUANTIZED)
