"""Face-MLLMs with random weights, for the benchmarks that need no trained one."""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, SiglipVisionConfig

from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

SIZES = {
    "small": {"vocab_size": 24_000, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 16}
    | {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64},
    "large": {"vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28}
    | {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128},
}
"""Language models by what the whole has: 156 M parameters, and 0.7 B as Qwen3-0.6B behind the same encoder."""


def byte_level_tokenizer(texts: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """A language model's tokenizer with one token for each byte, and for the words of `texts`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=4000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


def build_model(
    texts: Iterable[str], image_size: int, size: str = "small"
) -> tuple[FaceMLLMForConditionalGeneration, FaceMLLMProcessor]:
    """SigLIP base and a Qwen3 of `SIZES`, and a processor that knows the words of `texts`."""
    torch.manual_seed(0)
    text = Qwen3Config(**SIZES[size], max_position_embeddings=4096, tie_word_embeddings=True)
    vision = SiglipVisionConfig(image_size=image_size)
    processor = FaceMLLMProcessor.from_towers(vision, byte_level_tokenizer([*texts, "user\nassistant"]))
    return FaceMLLMForConditionalGeneration.from_towers(vision, text, tokenizer=processor.tokenizer), processor
