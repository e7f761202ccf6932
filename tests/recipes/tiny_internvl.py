"""A tiny random InternVL made of its configuration and processor files, saved as a folder."""

import json
from pathlib import Path

import torch
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from modeling_facemllm.versions_facemllm import pil_image_processor
from tests.recipes.tiny import chat_tokenizer
from tests.tiny import SIZES

CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{'<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)


def write_internvl(folder: Path) -> str:
    """The files of an InternVL3-hf repository around two random layers of width 32; tiles of 28 px, 4 tokens each."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=chat_tokenizer().backend_tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.save_pretrained(folder)
    pil_image_processor("GotOcr2ImageProcessor")(
        size={"height": 28, "width": 28}, crop_to_patches=True
    ).save_pretrained(folder)
    settings = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    (folder / "processor_config.json").write_text(json.dumps(settings))
    vision = InternVLVisionConfig(image_size=[28, 28], patch_size=[7, 7], **SIZES)
    text = Qwen2Config(vocab_size=len(tokenizer) + 4, num_key_value_heads=2, tie_word_embeddings=True, **SIZES)
    image_token_id = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    torch.manual_seed(0)
    config = InternVLConfig(vision_config=vision, text_config=text, image_token_id=image_token_id, image_seq_length=4)
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)
