"""The processor: photos and messages in, the model's tensors out."""

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    Dinov2Config,
    SiglipVisionConfig,
    ViTConfig,
)

from modeling_facemllm import FaceMLLMProcessor, FaceMLLMVisionConfig, FaceMLLMVisionModel
from modeling_facemllm.prompt_facemllm import prepare_tokenizer


def tensors(processor, messages, **kwargs):
    return processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt", **kwargs)


def turn(role, *parts):
    return {
        "role": role,
        "content": [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts],
    }


# Prompts


def test_the_prompt_is_chatml_without_a_system_turn(processor, question):
    assert processor.apply_chat_template(question, add_generation_prompt=True) == (
        "<|im_start|>user\n<image>\nGlasses?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_each_image_takes_num_image_tokens(processor, question, photo):
    inputs = tensors(processor, question, images=photo)
    assert processor.num_image_tokens == 4
    assert (inputs["input_ids"] == processor.image_token_id).sum() == 4
    assert inputs["pixel_values"].shape == (1, 3, 32, 32)
    assert set(inputs) == {"input_ids", "attention_mask", "pixel_values"}


@pytest.mark.parametrize("key", ["image", "path", "url", "base64"])
def test_an_image_part_may_hold_its_image(processor, question, photo, tmp_path, key):
    expected = tensors(processor, question, images=photo)
    photo.save(tmp_path / "photo.png")
    source = str(tmp_path / "photo.png")
    if key == "base64":
        source = base64.b64encode((tmp_path / "photo.png").read_bytes()).decode()
    inputs = tensors(
        processor, [turn("user", {"type": "image", key: photo if key == "image" else source}, "Glasses?")]
    )
    assert torch.equal(inputs["input_ids"], expected["input_ids"])
    assert torch.equal(inputs["pixel_values"], expected["pixel_values"])


def test_a_record_of_a_corpus_is_a_conversation(processor, question, photo):
    """Typed features fill what a part lacks with nulls."""
    record = [{"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "Glasses?"}]}]
    untouched = json.dumps(record)
    assert torch.equal(
        tensors(processor, record, images=[photo])["input_ids"],
        tensors(processor, question, images=photo)["input_ids"],
    )
    assert json.dumps(record) == untouched


def test_openai_image_urls_and_plain_strings_are_understood(processor, question, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    openai = [turn("user", {"type": "image_url", "image_url": {"url": str(tmp_path / "photo.png")}}, "Glasses?")]
    assert tensors(processor, openai)["pixel_values"].shape == (1, 3, 32, 32)
    assert processor.apply_chat_template([{"role": "user", "content": "Hi"}]) == "<|im_start|>user\nHi<|im_end|>\n"


def test_several_images_keep_their_order(processor, photo, other_photo):
    both = [turn("user", {"type": "image"}, {"type": "image", "image": other_photo}, "Same person?")]
    inputs = tensors(processor, both, images=[photo])
    assert (inputs["input_ids"] == processor.image_token_id).sum() == 8
    apart = processor(images=[photo, other_photo], return_tensors="pt")
    assert torch.equal(inputs["pixel_values"], apart["pixel_values"])


def test_a_batch_pads_on_the_left(processor, question, photo):
    short, long = [turn("user", "Hi")], question
    batch = tensors(processor, [short, long], images=[[], [photo]], processor_kwargs={"padding": True})
    alone = tensors(processor, [short])["input_ids"][0]
    assert batch["pixel_values"].shape[0] == 1
    assert torch.equal(batch["input_ids"][0, -len(alone) :], alone)
    assert batch["attention_mask"][0].tolist() == [0] * (batch["input_ids"].shape[1] - len(alone)) + [1] * len(alone)


def test_text_alone_has_no_pixels(processor):
    assert set(tensors(processor, [turn("user", "Hi")])) == {"input_ids", "attention_mask"}
    assert set(processor(text="Hi")) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("return_tensors", [None, "pt"])
def test_the_assistant_mask_covers_answers_and_their_end(processor, photo, other_photo, return_tensors):
    talk = [
        turn("user", {"type": "image"}, "Glasses?"),
        turn("assistant", "No."),
        turn("user", "And here?", {"type": "image"}),
        turn("assistant", "Yes, round ones."),
    ]
    short = [turn("user", "Hi"), turn("assistant", "Hello!")]
    batch = processor.apply_chat_template(
        [talk, short],
        images=[photo, other_photo],
        tokenize=True,
        return_dict=True,
        return_tensors=return_tensors,
        return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True},
    )
    said = [
        processor.decode([token for token, is_said in zip(ids, mask, strict=True) if is_said])
        for ids, mask in zip(batch["input_ids"], batch["assistant_masks"], strict=True)
    ]
    assert said == ["No.<|im_end|>Yes, round ones.<|im_end|>", "Hello!<|im_end|>"]


def test_an_answer_can_be_continued(processor):
    begun = [turn("user", "Hi"), turn("assistant", "Hel")]
    prompt = processor.apply_chat_template(begun, continue_final_message=True)
    assert prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHel"


def test_an_unknown_kind_of_content_is_refused(processor):
    with pytest.raises(Exception, match=r"content\b.*\bvideo\b"):
        processor.apply_chat_template([turn("user", {"type": "video"})])
    with pytest.raises(ValueError, match=r"conversation .*pass at least one message"):
        processor.apply_chat_template([])


@pytest.mark.parametrize(
    ("text", "images"), [("<image> hi", 0), ("hi", 1), ("<image>", 2), (["<image><image>", "hi"], [1, 1])]
)
def test_images_and_tokens_must_agree(processor, photo, text, images):
    images = [[photo] * count for count in images] if isinstance(images, list) else [photo] * images
    with pytest.raises(ValueError, match="Image features and image tokens do not match"):
        processor(text=text, images=images or None)


def test_images_given_apart_must_fit_the_messages(processor, question, photo):
    with pytest.raises(ValueError, match=r"\b1 image parts\b.*\b2 images\b.*images="):
        tensors(processor, question, images=[photo, photo])
    with pytest.raises(ValueError, match=r"conversation 1\b.*\b1 image parts\b.*\b0 images\b.*images="):
        tensors(processor, [question, question], images=[[photo], []])


def test_truncation_through_an_image_is_refused(processor, question, photo):
    with pytest.raises(ValueError, match="Mismatch in `image` token count"):
        tensors(processor, question, images=photo, processor_kwargs={"truncation": True, "max_length": 9})


def test_a_broken_image_is_named(processor, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"image '.*broken\.jpg': "):
        tensors(processor, [turn("user", {"type": "image", "path": str(tmp_path / "broken.jpg")})])


def test_videos_and_empty_calls_are_refused(processor, photo):
    with pytest.raises(ValueError, match=r"images and text\b.*\bvideos"):
        processor(text="hi", videos=[photo])
    with pytest.raises(ValueError, match=r"at least one input\b"):
        processor()


def test_prepared_arrays_reach_the_image_processor_as_they_are(processor):
    ready = torch.full((3, 32, 32), 0.25)
    pixels = processor(images=ready, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"]
    assert torch.allclose(pixels[0], ready, atol=1 / 255)  # resizing works in 8 bits


def test_vllm_can_size_prompts_without_images(processor):
    sizes = processor._get_num_multimodal_tokens(image_sizes=[(480, 640), (32, 32)])
    assert sizes["num_image_tokens"] == [4, 4]
    assert sizes["num_image_patches"] == [1, 1]


def test_image_tokens_can_be_told_from_text(processor, photo):
    inputs = processor(text="<image>hi", images=photo, return_mm_token_type_ids=True)
    assert inputs["mm_token_type_ids"] == [[1, 1, 1, 1, 0, 0]]


def test_generated_text_is_decoded_for_the_pipeline(processor):
    tokens = processor(text=["yes<|im_end|>"])["input_ids"]
    assert processor.post_process_image_text_to_text(tokens) == ["yes"]
    assert processor.batch_decode(tokens, skip_special_tokens=True) == ["yes"]


# Composition and folders


@pytest.mark.parametrize(("factor", "tokens"), [(1, 16), (2, 4), (4, 1)])
def test_pixel_shuffle_leaves_fewer_tokens(vision_config, plain_tokenizer, factor, tokens):
    processor = FaceMLLMProcessor.from_towers(vision_config, plain_tokenizer, pixel_shuffle_factor=factor)
    assert processor.num_image_tokens == tokens


@pytest.mark.parametrize(
    ("vision", "strategy", "tokens"),
    [
        (SiglipVisionConfig(image_size=32, patch_size=8), "default", 16),
        (SiglipVisionConfig(image_size=32, patch_size=8), "full", 16),
        (CLIPVisionConfig(image_size=32, patch_size=8), "default", 16),
        (CLIPVisionConfig(image_size=32, patch_size=8), "full", 17),
        (ViTConfig(image_size=32, patch_size=8), "full", 17),
        (Dinov2Config(image_size=28, patch_size=14), "default", 4),
    ],
    ids=lambda value: getattr(value, "model_type", value),
)
def test_the_tower_decides_how_many_tokens_an_image_takes(plain_tokenizer, vision, strategy, tokens, photo):
    processor = FaceMLLMProcessor.from_towers(vision, plain_tokenizer, vision_feature_select_strategy=strategy)
    assert processor.num_image_tokens == tokens
    assert processor(images=photo)["pixel_values"][0].shape == (3, vision.image_size, vision.image_size)


def test_a_factor_that_does_not_divide_the_grid_is_refused(plain_tokenizer):
    with pytest.raises(ValueError, match=r"pixel_shuffle_factor=2\b.*3×3.*\[1\]"):
        FaceMLLMProcessor.from_towers(FaceMLLMVisionConfig(image_size=24), plain_tokenizer, pixel_shuffle_factor=2)


def test_towers_may_be_folders_models_or_ready_parts(tmp_path, vision_config, plain_tokenizer, processor, photo):
    tower = FaceMLLMVisionModel(vision_config)
    tower.save_pretrained(tmp_path / "vision")
    plain_tokenizer.save_pretrained(tmp_path / "text")
    expected = processor(text="<image>", images=photo, return_tensors="pt")
    for vision in (tmp_path / "vision", str(tmp_path / "vision"), tower):
        built = FaceMLLMProcessor.from_towers(vision, tmp_path / "text", pixel_shuffle_factor=2)
        inputs = built(text="<image>", images=photo, return_tensors="pt")
        assert all(torch.equal(inputs[key], expected[key]) for key in expected)


def test_the_image_processor_of_the_folder_is_used_at_the_towers_size(tmp_path, plain_tokenizer):
    CLIPVisionConfig(image_size=32, patch_size=8).save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}).save_pretrained(tmp_path)
    processor = FaceMLLMProcessor.from_towers(tmp_path, plain_tokenizer)
    settings = processor.image_processor.to_dict()
    assert settings["image_processor_type"].startswith("CLIPImageProcessor")
    assert settings["crop_size"] == {"height": 32, "width": 32}
    assert settings["size"] == {"shortest_edge": round(32 * 256 / 224)}


def test_a_folder_without_an_image_processor_is_refused(tmp_path, plain_tokenizer):
    CLIPVisionConfig(image_size=32, patch_size=8).save_pretrained(tmp_path)
    with pytest.raises((OSError, ValueError), match=r"preprocessor_config|image processor"):
        FaceMLLMProcessor.from_towers(tmp_path, plain_tokenizer)


def test_a_ready_image_processor_alone_is_no_tower(plain_tokenizer, processor):
    with pytest.raises(ValueError, match="image_processor="):
        FaceMLLMProcessor.from_towers(processor.image_processor, plain_tokenizer)


def test_padding_and_the_end_of_a_turn_are_different_tokens(plain_tokenizer):
    given = plain_tokenizer
    assert given.pad_token is None
    prepare_tokenizer(given)
    assert (given.eos_token, given.pad_token) == ("<|im_end|>", "<|endoftext|>")
    given.pad_token = None
    prepare_tokenizer(given)
    assert (given.eos_token, given.pad_token) == ("<|im_end|>", "<|pad|>")
    size = len(given)
    prepare_tokenizer(given)
    assert len(given) == size


def test_a_tokenizer_that_is_passed_stays_as_it_was(plain_tokenizer, vision_config):
    before = len(plain_tokenizer)
    FaceMLLMProcessor.from_towers(vision_config, plain_tokenizer)
    assert len(plain_tokenizer) == before


def test_a_processor_without_its_numbers_is_refused(processor, plain_tokenizer, photo):
    numberless = FaceMLLMProcessor(processor.image_processor, processor.tokenizer)
    with pytest.raises(ValueError, match=r"num_image_tokens=None.*from_towers"):
        numberless(images=photo, text="<image>")
    with pytest.raises(ValueError, match=r"num_image_tokens=0: .*1 or more"):
        FaceMLLMProcessor(processor.image_processor, processor.tokenizer, num_image_tokens=0)
    with pytest.raises(ValueError, match=r"image_token='<image>'.*\b7 tokens\b.*FaceMLLMProcessor\.from_towers"):
        FaceMLLMProcessor(processor.image_processor, plain_tokenizer, num_image_tokens=4)


def test_saving_and_loading_changes_nothing(processor, question, photo, tmp_path):
    processor.chat_template = processor.chat_template + "{# mine #}"
    processor.save_pretrained(tmp_path)
    expected = tensors(processor, question, images=photo)
    for loaded in (FaceMLLMProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert isinstance(loaded, FaceMLLMProcessor)
        assert loaded.num_image_tokens == processor.num_image_tokens
        assert loaded.image_processor.to_dict() == processor.image_processor.to_dict()
        assert loaded.chat_template == processor.chat_template == loaded.tokenizer.chat_template
        assert loaded.tokenizer.padding_side == "left"
        inputs = tensors(loaded, question, images=photo)
        assert all(torch.equal(inputs[key], expected[key]) for key in expected)


def test_the_folder_names_its_code(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "processor_config.json").read_text())
    assert config["auto_map"] == {"AutoProcessor": "processing_facemllm.FaceMLLMProcessor"}
    assert config["num_image_tokens"] == 4
    assert (tmp_path / "processing_facemllm.py").exists()
    tokenizer_config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert tokenizer_config["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_pixels_are_those_of_the_image_processor(processor):
    white = Image.fromarray(np.full((50, 20, 3), 255, np.uint8))
    assert torch.equal(processor(images=white, return_tensors="pt")["pixel_values"], torch.ones(1, 3, 32, 32))


def test_messages_and_their_parts_may_be_objects(processor, photo):
    """As clients of chat servers hand them out."""
    photo_part, text_part = {"type": "image", "image": photo}, {"type": "text", "text": "Glasses?"}
    objects = [SimpleNamespace(role="user", content=[SimpleNamespace(**photo_part), SimpleNamespace(**text_part)])]
    plain = [{"role": "user", "content": [photo_part, text_part]}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    found, expected = (processor.apply_chat_template(messages, **options) for messages in (objects, plain))
    assert torch.equal(found["input_ids"], expected["input_ids"])
    assert torch.equal(found["pixel_values"], expected["pixel_values"])
