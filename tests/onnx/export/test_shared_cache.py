"""A decoder whose cache stays in one buffer answers as one whose cache grows; other attention is left as it is."""

import itertools

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnxruntime import OrtValue

from facemllm_onnx.export.shared_cache import share_cache

# Attention over a past as transformers' fusion leaves it: what a query sees is a bias, rotations are computed.
DECODER = """
<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>
decoder (
    float[1, length, 48] inputs_embeds, int64[1, total] attention_mask, int64[1, length] position_ids,
    float[1, 1, past, 16] key, float[1, 1, past, 16] value
) => (float[1, length, 16] states, float[1, 1, grown, 16] new_key, float[1, 1, grown, 16] new_value)
<int64 zero = {{0}}, int64 one = {{1}}, int64 window = {{{window}}}, float seen = {{0.0}}, float hidden = {{-3.0e38}},
 int64[1] first = {{0}}, int64[1] second = {{1}}, int64[1] third = {{2}}, int32 unit = {{1}}, float unscaled = {{1.0}},
 int64[2] rows_of_eight = {{-1, 8}}, int64[1] eight = {{8}},
 float[8] frequencies = {{1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003}}>
{{
    past_axis = Shape <start = 2, end = 3> (key)
    length_axis = Shape <start = 1, end = 2> (inputs_embeds)
    total_axis = Add (past_axis, length_axis)
    start = Squeeze (past_axis)
    end = Squeeze (total_axis)
    queries = Range (start, end, one)
    rows = Unsqueeze (queries, second)
    keys = Range (zero, end, one)
    columns = Unsqueeze (keys, first)
    causal = LessOrEqual (columns, rows)
    oldest = Sub (rows, window)
    near = Greater (columns, oldest)
    visible = And (causal, near)
    flat = Where (visible, seen, hidden)
    axes = Concat <axis = 0> (first, second)
    bias = Unsqueeze (flat, axes)
    positions = Cast <to = 1> (position_ids)
    newest = ReduceMax <keepdims = 0> (positions)
    angles = Unsqueeze (positions, third)
    turned = Mul (angles, frequencies)
    scaled = Mul (turned, {scale})
    cosines = Cos (scaled)
    sines = Sin (scaled)
    cosine_rows = Reshape (cosines, rows_of_eight)
    sine_rows = Reshape (sines, rows_of_eight)
    missing = Concat <axis = 0> (past_axis, eight)
    zeros = Expand (seen, missing)
    cosine_table = Concat <axis = 0> (cosine_rows, zeros)
    sine_table = Concat <axis = 0> (sine_rows, zeros)
    new = Squeeze (length_axis)
    numbers = Range (zero, new, one)
    places = Unsqueeze (numbers, first)
    filled = Cast <to = 6> (total_axis)
    last = Sub (filled, unit)
    length = Squeeze (filled)
    states, new_key, new_value = com.microsoft.GroupQueryAttention <num_heads = 1, kv_num_heads = 1, do_rotary = 1> (
        inputs_embeds, , , key, value, last, length, cosine_table, sine_table, places, bias)
}}
"""
NO_WINDOW = 1 << 40


def decoder(window: int = NO_WINDOW, scale: str = "unscaled") -> ir.Model:
    return ir.from_onnx_text(DECODER.format(window=window, scale=scale))


def operators(model: ir.Model) -> set[str]:
    return {node.op_type for node in model.graph}


def run(model: ir.Model) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    inputs = {
        "inputs_embeds": random.standard_normal((1, 2, 48), dtype=np.float32),
        "attention_mask": np.ones((1, 7), np.int64),
        "position_ids": np.array([[5, 6]]),
        **{name: random.standard_normal((1, 1, 5, 16), dtype=np.float32) for name in ("key", "value")},
    }
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    return session.run(None, {tensor.name: inputs[tensor.name] for tensor in session.get_inputs()})


class Steps:
    """Feeds a fused decoder pieces of one row of embeddings."""

    def __init__(self, folder):
        path = str(folder / "onnx" / "decoder_model_merged.onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        shapes = {tensor.name: tensor.shape for tensor in self.session.get_inputs()}
        self.past = [name for name in shapes if name.startswith("past_key_values.")]
        _, self.kv_heads, _, self.head_dim = shapes[self.past[0]]
        self.row = np.random.default_rng(0).standard_normal((1, 12, shapes["inputs_embeds"][-1]), dtype=np.float32)

    def inputs(self, start: int, end: int) -> dict[str, np.ndarray]:
        return {
            "inputs_embeds": np.ascontiguousarray(self.row[:, start:end]),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(start, end)[None],
        }

    def with_growing_cache(self, *cuts: int) -> list[np.ndarray]:
        cache = {name: np.zeros((1, self.kv_heads, 0, self.head_dim), np.float32) for name in self.past}
        names = ["logits", *(name.replace("past_key_values", "present") for name in self.past)]
        logits = []
        for start, end in itertools.pairwise(cuts):
            answer, *grown = self.session.run(names, self.inputs(start, end) | cache)
            cache = dict(zip(self.past, grown, strict=True))
            logits.append(answer)
        return logits

    def with_one_buffer(self, *cuts: int, filled_with: float = 0.0) -> list[np.ndarray]:
        shape = 1, self.kv_heads, 20, self.head_dim
        self.buffers = {name: np.full(shape, filled_with, np.float32) for name in self.past}
        tensors = {name: OrtValue.ortvalue_from_numpy(array) for name, array in self.buffers.items()}
        logits = []
        for start, end in itertools.pairwise(cuts):
            binding = self.session.io_binding()
            for name, array in self.inputs(start, end).items():
                binding.bind_cpu_input(name, array)
            for name, tensor in tensors.items():
                binding.bind_ortvalue_input(name, tensor)
                binding.bind_ortvalue_output(name.replace("past_key_values", "present"), tensor)
            binding.bind_output("logits")
            self.session.run_with_iobinding(binding)
            logits.append(binding.get_outputs()[-1].numpy())  # bound last
        return logits


@pytest.fixture
def steps(fused_folder) -> Steps:
    return Steps(fused_folder)


def test_one_buffer_gives_the_logits_of_a_growing_cache(steps):
    cuts = 0, 5, 6, 7, 10, 11  # a prompt, tokens, several tokens behind a past
    for one, growing in zip(steps.with_one_buffer(*cuts), steps.with_growing_cache(*cuts), strict=True):
        np.testing.assert_array_equal(one, growing)


def test_steps_give_the_logits_of_the_whole_prompt(steps):
    np.testing.assert_allclose(steps.with_one_buffer(0, 5, 6, 7)[-1], steps.with_one_buffer(0, 7)[-1], atol=1e-5)


def test_what_stands_behind_the_filled_positions_is_not_read(steps):
    for clean, dirty in zip(
        steps.with_one_buffer(0, 5, 6), steps.with_one_buffer(0, 5, 6, filled_with=np.nan), strict=True
    ):
        np.testing.assert_array_equal(clean, dirty)


def test_new_positions_are_written_into_the_buffer(steps):
    steps.with_one_buffer(0, 5, 6, filled_with=np.nan)
    for buffer in steps.buffers.values():
        assert np.isfinite(buffer[:, :, :6]).all()
        assert np.isnan(buffer[:, :, 6:]).all()


def test_no_step_computes_masks(fused_folder):
    found = operators(ir.load(fused_folder / "onnx" / "decoder_model_merged.onnx"))
    assert "GroupQueryAttention" in found
    assert not found & {"Where", "LessOrEqual", "GatherND"}


@pytest.mark.parametrize("scale", ["unscaled", "newest"])
def test_the_rewritten_decoder_answers_alike(scale):
    rewritten = decoder(scale=scale)
    assert share_cache(rewritten, positions=512)
    for own, before in zip(run(rewritten), run(decoder(scale=scale)), strict=True):
        np.testing.assert_allclose(own, before, atol=1e-6)


def test_rotations_come_from_a_table_where_one_serves_all_lengths():
    plain, dynamic = decoder(), decoder(scale="newest")
    assert share_cache(plain, positions=512)
    assert share_cache(dynamic, positions=512)
    assert not operators(plain) & {"Cos", "Sin"}
    assert operators(dynamic) >= {"Cos", "Sin"}


@pytest.mark.parametrize("window", [1000, 4])
def test_sliding_windows_are_left_as_they_are(window):
    model = decoder(window)
    before = operators(model)
    assert share_cache(model, positions=512) is False
    assert operators(model) == before


def test_a_decoder_of_several_rows_is_left_as_it_is(onnx_batch_folder):
    model = ir.load(onnx_batch_folder / "onnx" / "decoder_model_merged.onnx")
    before = [node.op_type for node in model.graph]
    assert share_cache(model, 512) is False
    assert [node.op_type for node in model.graph] == before
