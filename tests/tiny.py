"""The tiny real model of the tests: towers of two layers, one token for each byte, four tokens for an image."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PretrainedConfig, PreTrainedTokenizerFast, Qwen3Config

from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor, FaceMLLMVisionConfig

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {
    **SIZES,
    "vocab_size": 256,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,  # large enough that answers vary and depend on the image
}
"""A language model that knows bytes, as most configurations of transformers take it."""


def text_config(**changes: Any) -> Qwen3Config:
    return Qwen3Config(**{**TEXT, "tie_word_embeddings": True, **changes})


def vision_config(**changes: Any) -> FaceMLLMVisionConfig:
    """A tower for 32-pixel images of 4×4 patches."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    return FaceMLLMVisionConfig(**{"image_size": 32, "stem_channels": [8, 8, 8], **sizes, **changes})


def byte_tokenizer(texts: list[str] | None = None, **tokens: Any) -> PreTrainedTokenizerFast:
    """A tokenizer that knows nothing of images or turns: one token per byte, and the commonest words of `texts`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if texts is not None:
        trainer = BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
        backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **({"eos_token": "<|endoftext|>"} | tokens))


def make_model(
    vision: PretrainedConfig | None = None,
    text: PretrainedConfig | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> tuple[FaceMLLMForConditionalGeneration, FaceMLLMProcessor]:
    """A whole Face-MLLM with random weights, the same each time, and its processor."""
    vision, text = vision or vision_config(), text or text_config()
    processor = FaceMLLMProcessor.from_towers(vision, tokenizer or byte_tokenizer(), pixel_shuffle_factor=2)
    torch.manual_seed(0)
    model = FaceMLLMForConditionalGeneration.from_towers(
        vision, text, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )
    return model, processor


def save_model(folder: Path, *parts: Any) -> Path:
    """[`make_model`] as training leaves it, in a folder."""
    for part in make_model(*parts):
        part.save_pretrained(folder)
    return folder
