"""The decoder and its cache of keys and values: embeddings in, logits of the next token out.

Tensors are bound once and written in place. A graph that lets past and present be one buffer (`cache.shared_buffer`
in `export.json`) gets one of fixed length, which grouped-query attention extends without copying; any other graph
returns a longer cache at each step, and it stays on the device.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from onnxruntime import InferenceSession, OrtValue

STORAGE = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(bfloat16)": np.uint16}
"""How NumPy holds the numbers of each of ONNX's types; of bfloat16, which it lacks, their bits."""
BFLOAT16 = 16  # ONNX's number for the type
CACHE_STEP = 256
"""Positions by which a shared cache grows, so that the next, longer prompt may still find room in it."""


def to_float32(values: np.ndarray) -> np.ndarray:
    """Numbers as stored (see `STORAGE`) → float32."""
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)


def to_storage(values: np.ndarray, kind: type) -> np.ndarray:
    """float32 → numbers as stored; bfloat16 is rounded to the nearest, ties to even."""
    if kind is not np.uint16:
        return np.ascontiguousarray(values, dtype=kind)
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def on_host(array: np.ndarray) -> OrtValue:
    """A tensor on the array's own memory: what is written to one is in the other."""
    if array.dtype == np.uint16:
        return OrtValue.ortvalue_from_numpy_with_onnx_type(array, BFLOAT16)
    return OrtValue.ortvalue_from_numpy(array)


def run_on_host(session: InferenceSession, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Run a graph of one input and one output of a known shape; both as NumPy holds them."""
    result = np.empty(shape, dtype=STORAGE[session.get_outputs()[0].type])
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, on_host(array))
    binding.bind_ortvalue_output(session.get_outputs()[0].name, on_host(result))
    session.run_with_iobinding(binding)
    return result


class Decoder:
    """The graphs that read tokens. Runs may overlap: each has a cache of its own.

    Args:
        embed, decoder: the sessions of `embed_tokens` and `decoder_model_merged`, on one provider.
        cache: `cache` of `export.json`.
        device: `"cpu"` or `"cuda"`.
        max_length: positions of a shared cache; what a run needs, in steps of `CACHE_STEP`, where absent.
    """

    def __init__(
        self,
        embed: InferenceSession,
        decoder: InferenceSession,
        cache: Mapping[str, Any],
        device: str,
        max_length: int | None = None,
    ):
        self.embed_session, self.session, self.device = embed, decoder, device
        inputs = {tensor.name: tensor for tensor in decoder.get_inputs()}
        outputs = {tensor.name: tensor for tensor in decoder.get_outputs()}
        self.shared = bool(cache.get("shared_buffer"))
        self.past_names = [name for name in inputs if name.startswith("past_key_values.")]
        self.present_names = [name.replace("past_key_values", "present") for name in self.past_names]
        self.hidden_size, self.vocab_size = inputs["inputs_embeds"].shape[-1], outputs["logits"].shape[-1]
        self.kind = STORAGE[inputs["inputs_embeds"].type]
        self.logits_kind = STORAGE[outputs["logits"].type]
        self.cache_kind = STORAGE[inputs[self.past_names[0]].type]
        self.kv_heads, self.head_dim = cache["kv_heads"], cache["head_dim"]
        self.max_length = max_length
        self._idle: list[tuple[int, list[OrtValue]]] = []

    def embed(self, input_ids: np.ndarray) -> np.ndarray:
        """Token embeddings as stored, `(batch, length, hidden)`, of int64 `(batch, length)`."""
        return run_on_host(self.embed_session, np.ascontiguousarray(input_ids), (*input_ids.shape, self.hidden_size))

    def empty_cache(self, batch: int, length: int) -> list[OrtValue]:
        """A key and a value tensor for each layer, `(batch, kv_heads, length, head_dim)`, on the device."""
        shape = batch, self.kv_heads, length, self.head_dim
        return [self.new_tensor(shape, self.cache_kind) for _ in self.past_names]

    def new_tensor(self, shape: tuple[int, ...], kind: type) -> OrtValue:
        """A tensor on the device, of numbers as stored."""
        if self.device == "cpu":
            return on_host(np.zeros(shape, dtype=kind))
        return OrtValue.ortvalue_from_shape_and_type(shape, BFLOAT16 if kind is np.uint16 else kind, self.device)

    def take_cache(self, length: int) -> tuple[int, list[OrtValue]]:
        """A shared cache with room for at least `length` positions, and its room; give it back when done."""
        with suppress(IndexError):  # asking first would let another thread take the last one in between
            while True:
                room, cache = self._idle.pop()
                if room >= length:
                    return room, cache
        room = self.max_length or -(-length // CACHE_STEP) * CACHE_STEP
        return room, self.empty_cache(1, room)

    def give_back(self, room: int, cache: list[OrtValue]) -> None:
        self._idle.append((room, cache))


class DecoderRun:
    """One batch of prompts on its way through the decoder: `read` the prompts, then `step` with each next token.

    Args:
        attention_mask: int64 `(batch, length)`, 0 at the padding on the left.
        max_new_tokens: logits that are wanted at most, those behind the prompts included.
    """

    def __init__(self, decoder: Decoder, attention_mask: np.ndarray, max_new_tokens: int):
        self.decoder = decoder
        self.batch, self.length = attention_mask.shape
        # The last token of an answer is not read.
        self.mask = np.ones((self.batch, self.length + max_new_tokens - 1), dtype=np.int64)
        self.mask[:, : self.length] = attention_mask
        self.positions = np.zeros((self.batch, 1), dtype=np.int64)
        self.tokens = np.zeros((self.batch, 1), dtype=np.int64)
        self.logits = np.empty((self.batch, 1, decoder.vocab_size), dtype=decoder.logits_kind)
        self.binding = decoder.session.io_binding()
        self.binding.bind_ortvalue_output("logits", on_host(self.logits))
        self.room = None
        if decoder.shared:
            self.room, self.cache = decoder.take_cache(self.mask.shape[1])
            for past, present, tensor in zip(decoder.past_names, decoder.present_names, self.cache, strict=True):
                self.binding.bind_ortvalue_input(past, tensor)
                self.binding.bind_ortvalue_output(present, tensor)
        else:
            self.cache = decoder.empty_cache(self.batch, 0)

    def __enter__(self) -> "DecoderRun":
        return self

    def __exit__(self, *_: object) -> None:
        if self.room is not None:
            self.decoder.give_back(self.room, self.cache)
            self.room = None

    def read(self, inputs_embeds: np.ndarray) -> np.ndarray:
        """Logits behind the prompts, float32 `(batch, vocab)`, of embeddings as stored, `(batch, length, hidden)`.

        They hold until the next step, which may write its own in their place.
        """
        positions = np.maximum(self.mask[:, : self.length].cumsum(axis=1) - 1, 0)
        prompt = on_host(np.ascontiguousarray(inputs_embeds))  # keeps the memory that is bound
        self.binding.bind_ortvalue_input("inputs_embeds", prompt)
        self.binding.bind_cpu_input("position_ids", positions)
        logits = self._run()
        self.positions[:] = positions[:, -1:]
        self.embedded = self.decoder.new_tensor((self.batch, 1, self.decoder.hidden_size), self.decoder.kind)
        self.embedding = self.decoder.embed_session.io_binding()
        self.embedding.bind_ortvalue_output("inputs_embeds", self.embedded)
        self.binding.bind_ortvalue_input("inputs_embeds", self.embedded)
        self._bind_steps()
        return logits

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Logits behind one more token of each prompt, float32 `(batch, vocab)`; `tokens` int64 `(batch,)`."""
        self.tokens[:, 0] = tokens
        self.positions += 1
        self.length += 1
        if self.decoder.device != "cpu":  # there the tensors are copies of these arrays, here they are the arrays
            self._bind_steps()
        self.decoder.embed_session.run_with_iobinding(self.embedding)
        return self._run()

    def _bind_steps(self) -> None:
        self.embedding.bind_cpu_input("input_ids", self.tokens)
        self.binding.bind_cpu_input("position_ids", self.positions)

    def _run(self) -> np.ndarray:
        decoder, binding = self.decoder, self.binding
        binding.bind_cpu_input("attention_mask", np.ascontiguousarray(self.mask[:, : self.length]))
        if not decoder.shared:
            for past, present, tensor in zip(decoder.past_names, decoder.present_names, self.cache, strict=True):
                binding.bind_ortvalue_input(past, tensor)
                binding.bind_output(present, decoder.device)
        decoder.session.run_with_iobinding(binding)
        if not decoder.shared:
            self.cache = binding.get_outputs()[1:]
        return to_float32(self.logits[:, 0])
