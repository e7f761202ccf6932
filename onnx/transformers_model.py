"""An exported Face-MLLM where transformers expects one of its models: in its pipelines, and in its `generate`.

    model = ONNXFaceMLLM.from_pretrained("my-lab/face-mllm-onnx", provider="cpu")
    processor = AutoProcessor.from_pretrained("my-lab/face-mllm-onnx")
    ask = pipeline("image-text-to-text", model=model, processor=processor, device=model.device)

It needs PyTorch and transformers, whose tensors ONNX Runtime reads and writes in place. `FaceMLLMForONNX` needs
neither, and generates faster: its keys and values stay where they are, while here they are copied at every token.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from onnxruntime import InferenceSession
from transformers import AutoModelForImageTextToText, DynamicCache, GenerationConfig, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast

from modeling_facemllm import FaceMLLMConfig
from modeling_facemllm.errors_facemllm import NoNumbersError
from modeling_facemllm.generation_facemllm import FaceMLLMGenerationMixin
from modeling_facemllm.versions_facemllm import CACHE_NAME, given_cache

from .runtime.model import FaceMLLMForONNX

ELEMENT_TYPES = {
    "tensor(float)": (torch.float32, 1),
    "tensor(int64)": (torch.int64, 7),
    "tensor(float16)": (torch.float16, 10),
    "tensor(bfloat16)": (torch.bfloat16, 16),
}
"""PyTorch's type and ONNX's number of each type that a tensor of the graphs has."""
State = tuple[torch.Tensor, torch.Tensor]


class ONNXFaceMLLMConfig(FaceMLLMConfig):
    """Under this name alone pipelines know `ONNXFaceMLLM`; its configuration is the exported model's."""


class ONNXFaceMLLM(PreTrainedModel, FaceMLLMGenerationMixin):
    """A Face-MLLM on ONNX Runtime with the methods of `FaceMLLMForConditionalGeneration` that inference calls.

    `generate` is transformers' own: sampling, beams, streamers, stopping criteria and processors of logits are its.
    Rows of a decoder that is fused for one row are run one after another, without their padding. What needs logits
    before the last position (training, assisted decoding) is refused.

    Args:
        runtime: the loaded graphs. `from_pretrained` takes what the runtime's does.
    """

    config_class = ONNXFaceMLLMConfig
    input_modalities = ("image", "text")
    is_exported = True
    _is_stateful = True  # assisted decoding, which needs logits of several positions, is refused in these words

    def __init__(self, runtime: FaceMLLMForONNX):
        super().__init__(FaceMLLMConfig.from_pretrained(runtime.folder))
        self.generation_config = GenerationConfig.from_pretrained(runtime.folder)
        self.runtime = runtime
        self._one_row = runtime.record["batch"] == "one"

    @classmethod
    def from_pretrained(cls, model: str | os.PathLike, provider: str = "auto", **options: Any) -> "ONNXFaceMLLM":
        """The export in a folder or under a Hub id; see [`FaceMLLMForONNX.from_pretrained`]."""
        AutoModelForImageTextToText.register(ONNXFaceMLLMConfig, ONNXFaceMLLM, exist_ok=True)
        return cls(FaceMLLMForONNX.from_pretrained(model, provider=provider, **options)).eval()

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Copy the export: a folder that `from_pretrained` takes."""
        shutil.copytree(self.runtime.folder, Path(save_directory), dirs_exist_ok=True)

    @property
    def device(self) -> torch.device:
        """Where tensors go in and come out; the CPU too where ONNX Runtime has CUDA and this PyTorch has not."""
        on_cuda = self.runtime.provider == "cuda" and torch.cuda.is_available()
        return torch.device("cuda", 0) if on_cuda else torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.runtime.record["cache"]["dtype"])

    def to(self, device: Any = None, *args: Any, **kwargs: Any) -> "ONNXFaceMLLM":
        """Stay; a session does not move. Raises `ValueError` for another device."""
        if isinstance(device, (str, int)):
            device = torch.device(device)
        if isinstance(device, torch.device) and device.type != self.device.type:
            raise ValueError(
                f"device={str(device)!r}: the export runs on {self.device.type}; give the pipeline "
                "device=model.device, or load the export with another provider"
            )
        return self

    def get_input_embeddings(self) -> Any:
        """A function from ids `(batch, length)` to embeddings `(batch, length, hidden)`."""
        return self._embed

    def get_image_features(
        self, pixel_values: torch.FloatTensor, return_dict: bool | None = None
    ) -> BaseModelOutputWithPooling:
        """The images as the language model reads them: `pooler_output` of shape `(images, image tokens, hidden)`."""
        session = self.runtime.sessions["vision_encoder"]
        sizes = self.runtime.record["model"]
        shape = (len(pixel_values), sizes["num_image_tokens"], sizes["hidden_size"])
        features = self._run(session, {"pixel_values": pixel_values}, {"image_features": shape})["image_features"]
        return BaseModelOutputWithPooling(pooler_output=features)

    def score_options(self, processor: Any, images: list, questions: list, **options: Any) -> list[list[list[float]]]:
        """How probable each option of each question is, for each face: see [`FaceMLLMForONNX.score`].

        Args:
            processor: not used; the runtime's own prepares the same inputs.
        """
        return self.runtime.score(images, questions, **options)

    def no_numbers(self) -> NoNumbersError:
        """What to raise where the graphs' numbers are NaN or infinite."""
        return self.runtime.no_numbers()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        attention_mask: torch.LongTensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 1,
        cache: Cache | None = None,
        cache_position: torch.LongTensor | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> CausalLMOutputWithPast:
        """The logits of the last position, of shape `(batch, 1, vocab_size)`; inputs as `FaceMLLMModel` takes them.

        Args:
            logits_to_keep: 0 and 1 both give the last position's.

        Raises:
            ValueError: for arguments that an exported model cannot do anything about, and when image tokens and
                features differ in number.
        """
        wanted = [name for name, value in others.items() if value is not None and value is not False]
        if logits_to_keep not in (0, 1):
            wanted.append(f"logits_to_keep={logits_to_keep}")
        if wanted:
            raise ValueError(
                f"{', '.join(wanted)}: an exported model gives the logits of the last position alone; leave it out"
            )
        cache = given_cache(past_key_values, cache)
        cache = DynamicCache() if cache is None else cache
        past = _states(cache)
        past_length = past[0][0].shape[2] if past else 0
        if inputs_embeds is None:
            inputs_embeds = self._embed(input_ids)
        images = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            images = self.get_image_features(pixel_values)
        if images is not None:
            inputs_embeds = self._with_images(input_ids, inputs_embeds, images.pooler_output)
        if attention_mask is None:
            attention_mask = inputs_embeds.new_ones(len(inputs_embeds), past_length + inputs_embeds.shape[1])
        mask = attention_mask.long()
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, past_length:]
        if position_ids is not None:
            real = mask[:, past_length:]
            if self._one_row and not torch.equal(position_ids * real, positions * real):
                raise ValueError("position_ids: a fused decoder counts them itself; export with --batch to set them")
            positions = position_ids
        rows_apart = self._one_row and (len(mask) > 1 or not mask.all())
        decode = self._decode_rows if rows_apart else self._decode
        logits, states = decode(inputs_embeds, mask, positions, past)
        if use_cache is False:
            return CausalLMOutputWithPast(logits=logits)
        _put(states, cache)
        return CausalLMOutputWithPast(logits=logits, **{CACHE_NAME: cache})

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        # `generate` would drop what lies before a sliding window; the graph takes all of the past.
        return False

    def _embed(self, input_ids: torch.LongTensor) -> torch.Tensor:
        shape = (*input_ids.shape, self.runtime.record["model"]["hidden_size"])
        session = self.runtime.sessions["embed_tokens"]
        return self._run(session, {"input_ids": input_ids}, {"inputs_embeds": shape})["inputs_embeds"]

    def _with_images(self, input_ids, inputs_embeds: torch.Tensor, features: Any) -> torch.Tensor:
        if input_ids is None:
            raise ValueError("inputs_embeds: where they hold the images already, give no pixel_values")
        if isinstance(features, (list, tuple)):  # as `generate` leaves them in chunks of the prompt
            features = torch.cat(list(features))
        places = input_ids == self.config.image_token_id
        if places.sum() * inputs_embeds.shape[-1] != features.numel():
            raise ValueError(
                "Image features and image tokens do not match, tokens: "
                f"{places.sum()}, features: {features.numel() // features.shape[-1]}"
            )
        return inputs_embeds.masked_scatter(places.unsqueeze(-1), features.to(inputs_embeds))

    def _decode(
        self, inputs_embeds: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: Sequence[State]
    ) -> tuple[torch.Tensor, list[State]]:
        """Logits `(batch, 1, vocab)` and, of each layer, keys and values `(batch, heads, length of mask, head)`."""
        if self._one_row and mask.shape[1] > self.runtime.position_limit:
            limit = self.runtime.position_limit
            raise ValueError(
                f"prompt and answer have {mask.shape[1]} tokens: this export reads {limit} at most; shorten it"
            )
        sizes, batch = self.runtime.record["cache"], len(mask)
        shape = (batch, sizes["kv_heads"], mask.shape[1], sizes["head_dim"])
        nothing = inputs_embeds.new_empty(batch, shape[1], 0, shape[3])
        past = past or [(nothing, nothing)] * sizes["layers"]
        inputs = {"inputs_embeds": inputs_embeds, "attention_mask": mask, "position_ids": positions}
        outputs = {"logits": (batch, 1, self.runtime.record["model"]["vocab_size"])}
        for layer, states in enumerate(past):
            for part, state in zip(("key", "value"), states, strict=True):
                inputs[f"past_key_values.{layer}.{part}"] = state
                outputs[f"present.{layer}.{part}"] = shape
        made = self._run(self.runtime.sessions["decoder_model_merged"], inputs, outputs)
        states = [(made[f"present.{layer}.key"], made[f"present.{layer}.value"]) for layer in range(sizes["layers"])]
        return made["logits"], states

    def _decode_rows(
        self, inputs_embeds: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: Sequence[State]
    ) -> tuple[torch.Tensor, list[State]]:
        """As `_decode`, for a decoder of one row without padding: each row runs without its own, which is 0 after."""
        starts = mask.argmax(dim=1).tolist()
        if not all(mask[row, start:].all() for row, start in enumerate(starts)):
            raise ValueError("attention_mask: prompts have to be padded on the left")
        past_length = mask.shape[1] - inputs_embeds.shape[1]
        rows: list[torch.Tensor] = []
        padded: list[State] = []
        for row, start in enumerate(starts):
            new = slice(max(0, start - past_length), None)
            its_past = [tuple(state[row : row + 1, :, start:] for state in states) for states in past]
            logits, its_states = self._decode(
                inputs_embeds[row : row + 1, new], mask[row : row + 1, start:], positions[row : row + 1, new], its_past
            )
            rows.append(logits)
            if not padded:
                shape = (len(mask), its_states[0][0].shape[1], mask.shape[1], its_states[0][0].shape[3])
                padded = [tuple(state.new_zeros(shape) for state in states) for states in its_states]
            for states, its in zip(padded, its_states, strict=True):
                for state, its_own in zip(states, its, strict=True):
                    state[row, :, start:] = its_own[0]
        return torch.cat(rows), padded

    def _run(
        self, session: InferenceSession, inputs: Mapping[str, torch.Tensor], outputs: Mapping[str, tuple[int, ...]]
    ) -> dict[str, torch.Tensor]:
        """Run a graph on PyTorch's memory.

        Args:
            outputs: the shapes of what comes out.
        """
        binding, device, held = session.io_binding(), self.device, []
        place = (device.type, device.index or 0)
        for node in session.get_inputs():
            dtype, element = ELEMENT_TYPES[node.type]
            tensor = inputs[node.name].to(device, dtype).contiguous()
            held.append(tensor)  # until the graph has run
            binding.bind_input(node.name, *place, element, tuple(tensor.shape), tensor.data_ptr())
        made = {}
        for node in session.get_outputs():
            dtype, element = ELEMENT_TYPES[node.type]
            made[node.name] = torch.empty(outputs[node.name], dtype=dtype, device=device)
            binding.bind_output(node.name, *place, element, tuple(outputs[node.name]), made[node.name].data_ptr())
        if device.type == "cuda":
            torch.cuda.current_stream().synchronize()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return made


def _states(cache: Cache) -> list[State]:
    """Keys and values of each layer; none where nothing was read yet."""
    layers = getattr(cache, "layers", None)
    if layers is None or not all(type(layer) is DynamicLayer for layer in layers):
        raise ValueError(f"past_key_values={type(cache).__name__}: give a plain DynamicCache")
    return [(layer.keys, layer.values) for layer in layers] if cache.get_seq_length() else []


def _put(states: Sequence[State], cache: Cache) -> None:
    if not cache.get_seq_length():
        for layer, (keys, values) in enumerate(states):
            cache.update(keys, values, layer)
        return
    for layer, (keys, values) in zip(cache.layers, states, strict=True):
        layer.keys, layer.values = keys, values
