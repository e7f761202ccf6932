"""transformers' ProcessorTesterMixin on the processor of Face-MLLM."""

import unittest

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, SiglipImageProcessorPil

from modeling_facemllm import FaceMLLMProcessor
from modeling_facemllm.prompt_facemllm import CHAT_TEMPLATE, prepare_tokenizer

from ...test_processing_common import ProcessorTesterMixin


class FaceMLLMProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = FaceMLLMProcessor

    @classmethod
    def _setup_image_processor(cls):
        return SiglipImageProcessorPil(size={"height": 32, "width": 32}, do_convert_rgb=True)

    @classmethod
    def _setup_tokenizer(cls):
        vocab = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")
        prepare_tokenizer(tokenizer)
        return tokenizer

    @staticmethod
    def prepare_processor_dict():
        return {"num_image_tokens": 4, "chat_template": CHAT_TEMPLATE}

    def test_chat_template_message_objects(self):
        self.skipTest("a template sees each picture under `image`, not under the key that it came under")
