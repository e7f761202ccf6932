"""A tiny real Face-MLLM in a folder, with random weights: what `train` would leave."""

import os

import pytest

# Before transformers is imported: the tests must pass offline.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny_towers(tmp_path_factory):
    """Folders (vision, text) of untrained towers: 16 image tokens at factor 2, a word-level vocabulary."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, SiglipImageProcessor

    from datasets_scripts.synthetic.text import WORDING
    from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel

    folder = tmp_path_factory.mktemp("towers")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator((question for word in WORDING.values() for question in word.questions), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>")
    tokenizer.save_pretrained(folder / "text")

    torch.manual_seed(0)
    text = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(text).save_pretrained(folder / "text")
    vision = FaceMLLMVisionConfig(
        stem_channels=[8, 8, 16], hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    FaceMLLMVisionModel(vision).save_pretrained(folder / "vision")
    SiglipImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder / "vision")
    return folder / "vision", folder / "text"


@pytest.fixture(scope="session")
def tiny_model(tiny_towers, tmp_path_factory):
    """The folder of an untrained Face-MLLM."""
    import torch

    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

    vision, text = map(str, tiny_towers)
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    processor = FaceMLLMProcessor.from_towers(vision, text, pixel_shuffle_factor=2)
    model = FaceMLLMForConditionalGeneration.from_towers(
        vision, text, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def face_png(tmp_path_factory):
    """The path of a drawn face."""
    from datasets_scripts.synthetic.faces import draw_face, sample_labels

    path = tmp_path_factory.mktemp("faces") / "face.png"
    draw_face(sample_labels(0, 0, "test"), 0, 0, "test").save(path)
    return path
