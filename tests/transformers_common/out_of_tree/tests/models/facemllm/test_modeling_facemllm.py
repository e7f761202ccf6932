"""transformers' ModelTesterMixin (and GenerationTesterMixin where it is to be had) on tiny Face-MLLMs."""

import copy
import unittest

import torch
from transformers import Qwen3Config, SiglipVisionConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)
from transformers.testing_utils import torch_device

from modeling_facemllm import (
    FaceMLLMConfig,
    FaceMLLMForConditionalGeneration,
    FaceMLLMModel,
    FaceMLLMVisionConfig,
)

from ...generation.test_utils import GenerationTesterMixin
from ...test_configuration_common import ConfigTester
from ...test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor

MODEL_MAPPING_NAMES["facemllm"] = "FaceMLLMModel"
MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES["facemllm"] = "FaceMLLMForConditionalGeneration"


def own_tower() -> FaceMLLMVisionConfig:
    return FaceMLLMVisionConfig(
        image_size=16,
        stem_channels=[8, 8],
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
    )


def siglip_tower() -> SiglipVisionConfig:
    return SiglipVisionConfig(
        image_size=16,
        patch_size=4,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        vision_use_head=False,
    )


class FaceMLLMModelTester:
    """16-pixel images on a 4×4 grid, merged by 2 into four tokens an image; two prompts with one image each."""

    is_training = True
    batch_size = 2
    num_hidden_layers = 2
    num_attention_heads = 4
    hidden_size = 32
    vocab_size = 99
    pad_token_id = 1
    image_token_index = 4
    num_image_tokens = 4
    image_size = 16
    seq_length = 11
    encoder_seq_length = seq_length

    def __init__(self, parent, vision_config):
        self.parent = parent
        self.vision_config = vision_config

    def get_config(self) -> FaceMLLMConfig:
        return FaceMLLMConfig(
            vision_config=copy.deepcopy(self.vision_config),  # tests change it
            text_config=Qwen3Config(
                vocab_size=self.vocab_size,
                hidden_size=self.hidden_size,
                intermediate_size=37,
                num_hidden_layers=self.num_hidden_layers,
                num_attention_heads=self.num_attention_heads,
                num_key_value_heads=2,
                head_dim=8,
                max_position_embeddings=512,
                pad_token_id=self.pad_token_id,
                bos_token_id=0,
                eos_token_id=2,
            ),
            image_token_id=self.image_token_index,
            pixel_shuffle_factor=2,
        )

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        pixel_values = floats_tensor([self.batch_size, 3, self.image_size, self.image_size])
        input_ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size - 5) + 5
        input_ids[:, 1 : 1 + self.num_image_tokens] = self.image_token_index
        attention_mask = torch.ones_like(input_ids, device=torch_device)
        return config, {"pixel_values": pixel_values, "input_ids": input_ids, "attention_mask": attention_mask}


class FaceMLLMTests(ModelTesterMixin, GenerationTesterMixin):
    all_model_classes = (FaceMLLMModel, FaceMLLMForConditionalGeneration)
    pipeline_model_mapping = {"image-text-to-text": FaceMLLMForConditionalGeneration}
    _is_composite = True
    _torch_compile_train_cls = FaceMLLMForConditionalGeneration

    def setUp(self):
        self.model_tester = FaceMLLMModelTester(self, self.vision_config())
        self.config_tester = ConfigTester(self, config_class=FaceMLLMConfig, has_text_modality=False)

    def test_config(self):
        self.config_tester.run_common_tests()


class FaceMLLMOwnTowerTest(FaceMLLMTests, unittest.TestCase):
    vision_config = staticmethod(own_tower)
    test_can_init_all_missing_weights_before_2023 = True  # run it: our files bear no year to judge by


class FaceMLLMSiglipTowerTest(FaceMLLMTests, unittest.TestCase):
    vision_config = staticmethod(siglip_tower)
