"""Tiny real parts: a byte-level tokenizer, the smallest towers, one photo."""

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config

from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor, FaceMLLMVisionConfig


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def plain_tokenizer():
    """A language model's tokenizer that knows nothing of images or turns: one token per byte."""
    vocab = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")


@pytest.fixture
def vision_config():
    return FaceMLLMVisionConfig(
        image_size=32, stem_channels=[8, 8, 8], hidden_size=16, intermediate_size=32, num_attention_heads=2
    )


@pytest.fixture
def text_config():
    return Qwen3Config(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        rope_theta=100.0,  # no version's default: it has to survive saving by one and loading by the other
        tie_word_embeddings=True,
        initializer_range=0.2,  # large enough that answers vary and depend on the image
    )


@pytest.fixture
def processor(vision_config, plain_tokenizer):
    """32-pixel images of 4×4 patches, merged by 2: four tokens an image."""
    return FaceMLLMProcessor.from_towers(vision_config, plain_tokenizer, pixel_shuffle_factor=2)


@pytest.fixture
def model(vision_config, text_config, processor):
    torch.manual_seed(0)
    return FaceMLLMForConditionalGeneration.from_towers(
        vision_config, text_config, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))


@pytest.fixture
def other_photo():
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 30, 3), dtype=np.uint8))


@pytest.fixture
def question():
    """Messages with one image part that waits for its image."""
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Glasses?"}]}]
