"""Let a fused decoder keep its keys and values in one buffer that never moves.

transformers' ONNX fusion hands `GroupQueryAttention` the attention's mask as a bias, and reads how much of the cache
is filled off the cache's shape: each step copies a cache that has grown by a token. For one causal sequence the
operator needs no mask. Told the lengths, it writes new keys and values in place where past and present are one
buffer, of any length from the total on (`com.microsoft.GroupQueryAttention`, ONNX Runtime's contrib operators). A
cache that grows works with the rewritten graph as before.
"""

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as common_passes

PAST = slice(3, 5)  # past key and past value, among the inputs of GroupQueryAttention
BIAS = 10
PROBED_PAST, PROBED_TOKENS = 5, 3
LARGEST_WINDOW = 1 << 17  # tokens: larger constants in a mask are bounds of slices


def share_cache(model: ir.Model) -> bool:
    """Rewrite a fused decoder in place so that `present.*` may be the very buffers of `past_key_values.*`.

    The graph reads the length of the past off `attention_mask` (1, total_length), which has to be all ones, and off
    `inputs_embeds` (1, length, hidden). Shared buffers have shape (1, kv_heads, at least total_length, head_dim).
    Returns whether the graph was rewritten: not where no `GroupQueryAttention` reads a cache, and not where a mask is
    another than plain causal attention (sliding windows), which is found out by computing it.
    """
    graph = model.graph
    attentions = [node for node in graph if node.op_type == "GroupQueryAttention" and None not in node.inputs[PAST]]
    inputs = {value.name: value for value in graph.inputs}
    caches = [value for node in attentions for value in node.inputs[PAST]]
    if not attentions or not {"attention_mask", "inputs_embeds"} <= inputs.keys():
        return False
    if any(value not in graph.inputs for value in caches):
        return False
    biases = {node.inputs[BIAS] for node in attentions if len(node.inputs) > BIAS and node.inputs[BIAS] is not None}
    if not all(_is_causal(model, bias, caches) for bias in biases):
        return False
    for node in attentions:
        if len(node.inputs) > BIAS:
            node.replace_input_with(BIAS, None)
        _drop_masked_rows(node)
    common_passes.RemoveUnusedNodesPass()(model)
    _read_past_off_mask(graph, caches, inputs["attention_mask"], inputs["inputs_embeds"])
    common_passes.RemoveUnusedNodesPass()(model)
    return True


def _is_causal(model: ir.Model, bias: ir.Value, caches: list[ir.Value]) -> bool:
    # Computed behind a past that is longer than any window the mask's constants could stand for.
    import onnxruntime

    mask = ir.convenience.extract(model.graph, list(model.graph.inputs), [bias])
    windows = [
        int(value.const_value.numpy().max())
        for value in mask.initializers.values()
        if value.dtype in (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.FLOAT) and value.const_value.size == 1
    ]
    past = PROBED_PAST + max((abs(window) for window in windows if abs(window) <= LARGEST_WINDOW), default=0)
    total, names = past + PROBED_TOKENS, {value.name for value in caches}
    feeds = {}
    for value in mask.inputs:
        kind = value.dtype.numpy()
        if value.name in names:
            feeds[value.name] = np.zeros((1, 1, past, 1), kind)
        elif value.name == "attention_mask":
            feeds[value.name] = np.ones((1, total), kind)
        elif value.name == "position_ids":
            feeds[value.name] = np.arange(past, total, dtype=kind)[None]
        else:
            feeds[value.name] = np.zeros((1, PROBED_TOKENS, 1), kind)
        value.shape = None
    mask.outputs[0].shape = None
    proto = ir.to_proto(ir.Model(mask, ir_version=model.ir_version))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(None, feeds)[0], np.float32)
    visible = np.tri(PROBED_TOKENS, total, past, dtype=bool)
    expected_shape = found.shape[-2:] == visible.shape
    return expected_shape and bool(np.all(np.where(visible, found == 0, found < -1e4)))


def _drop_masked_rows(attention: ir.Node) -> None:
    # Rows of the mask that see nothing are set to zero behind the attention; a causal row sees at least itself.
    output = states = attention.outputs[0]
    while (reader := _only_reader(states)) is not None and reader.op_type in ("Reshape", "Transpose"):
        states = reader.outputs[0]
    if reader is None or reader.op_type != "Where" or reader.inputs[2] is not states:
        return
    zeros = ir.convenience.get_const_tensor(reader.inputs[1])
    if zeros is None or zeros.numpy().any():
        return
    ir.convenience.replace_all_uses_with(reader.outputs[0], states)
    merged = _only_reader(states, besides=reader)
    if merged is not None and merged.op_type == "Reshape" and merged.outputs[0].shape == output.shape:
        ir.convenience.replace_all_uses_with(merged.outputs[0], output)


def _only_reader(value: ir.Value, besides: ir.Node | None = None) -> ir.Node | None:
    readers = [node for node, _ in value.uses() if node is not besides]
    return readers[0] if len(readers) == 1 else None


def _read_past_off_mask(graph: ir.Graph, caches: Iterable[ir.Value], mask: ir.Value, new: ir.Value) -> None:
    tape = ir.tape.Tape(graph)
    total = tape.op("Shape", [mask], attributes={"start": 1, "end": 2})
    length = tape.op("Shape", [new], attributes={"start": 1, "end": 2})
    past = tape.op("Sub", [total, length])
    for node in reversed(tape.nodes):
        graph.insert_before(graph[0], node)
    past.dtype, past.shape = ir.DataType.INT64, ir.Shape([1])
    for node in [node for cache in caches for node, _ in cache.uses()]:
        axes = node.attributes.get_int("start", 0), node.attributes.get_int("end", 4)
        if node.op_type == "Shape" and axes == (2, 3):
            ir.convenience.replace_all_uses_with(node.outputs[0], past)
