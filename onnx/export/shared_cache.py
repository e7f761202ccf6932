"""Let a fused decoder keep its keys and values in one buffer that never moves.

transformers' ONNX fusion hands `GroupQueryAttention` the attention's mask as a bias, and reads how much of the cache
is filled off the cache's shape: each step copies a cache that has grown by a token. For one causal sequence the
operator needs no mask. Given the lengths, it writes new keys and values in place where past and present are one
buffer, of any length from the total on (`com.microsoft.GroupQueryAttention`, ONNX Runtime's contrib operators). A
cache that grows works with the rewritten graph as before.
"""

import numpy as np
import onnx_ir as ir
import onnxruntime
from onnx_ir.passes import common as common_passes

from .half_precision import to_float32

VALUE, PAST, LAST, TOTAL, COSINES, SINES, POSITIONS, BIAS = 2, slice(3, 5), 5, 6, 7, 8, 9, 10
"""Inputs of `GroupQueryAttention`: keys and values of the past are 3 and 4."""
PROBED_PAST, PROBED_TOKENS = 5, 3
LARGEST_WINDOW = 1 << 17  # tokens: larger constants in a mask are bounds of slices
LARGEST_TABLE = 1 << 17  # positions: 64 MB of cosines and sines, float32, for heads of 128


def share_cache(model: ir.Model, positions: int | None = None) -> bool:
    """Rewrite a fused decoder in place so that `present.*` may be the very buffers of `past_key_values.*`.

    The graph reads the length of the past off `attention_mask` (1, total_length), which has to be all ones, and off
    `inputs_embeds` (1, length, hidden). Shared buffers have shape (1, kv_heads, at least total_length, head_dim).

    Args:
        positions: how many the model distinguishes; their rotations become a table, where one serves all lengths
            (not dynamic scaling), instead of being computed at each step.

    Returns:
        Whether the graph was rewritten: not where no `GroupQueryAttention` reads a cache, and not where a mask is
        another than plain causal attention (sliding windows), which is found out by computing it.
    """
    graph = model.graph
    attentions = [node for node in graph if node.op_type == "GroupQueryAttention" and None not in node.inputs[PAST]]
    inputs = {value.name: value for value in graph.inputs}
    caches = [value for node in attentions for value in node.inputs[PAST]]
    if not attentions or not {"attention_mask", "inputs_embeds"} <= inputs.keys():
        return False
    if any(value not in graph.inputs or value.shape is None or value.shape[0] != 1 for value in caches):
        return False
    biases = {bias for node in attentions if (bias := _input(node, BIAS)) is not None}
    if not all(_is_causal(model, bias, caches) for bias in biases):
        return False
    for node in attentions:
        if len(node.inputs) > BIAS:
            node.replace_input_with(BIAS, None)
        _drop_masked_rows(node)
        _drop_head_split(node)
    if positions is not None and positions <= LARGEST_TABLE and "position_ids" in inputs:
        _tabulate_rotations(model, attentions, inputs["position_ids"], positions)
    _read_lengths_off_mask(graph, attentions, inputs["attention_mask"], inputs["inputs_embeds"])
    common_passes.RemoveUnusedNodesPass()(model)
    return True


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if len(node.inputs) > index else None


def _compute(model: ir.Model, outputs: list[ir.Value], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Values of the graph as float32, computed from those inputs alone, of any shapes.

    Raises:
        ValueError: when they depend on other inputs.
    """
    part = ir.convenience.extract(model.graph, [value for value in model.graph.inputs if value.name in feeds], outputs)
    for value in (*part.inputs, *part.outputs):
        value.shape = None
    for index, value in enumerate(part.outputs):  # NumPy has no bfloat16
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
        part.append(cast)
        part.outputs[index] = cast.outputs[0]
        cast.outputs[0].name, cast.outputs[0].dtype = f"computed_{index}", ir.DataType.FLOAT
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    computed = ir.Model(part, ir_version=model.ir_version)
    to_float32(computed)
    proto = ir.to_proto(computed).SerializeToString()
    session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    kinds = {value.name: value.dtype.numpy() for value in part.inputs}
    return session.run(None, {name: feeds[name].astype(kind) for name, kind in kinds.items()})


def _is_causal(model: ir.Model, bias: ir.Value, caches: list[ir.Value]) -> bool:
    # Computed behind a past that is longer than any window the graph's constants could stand for.
    constants = (value.const_value for value in model.graph.initializers.values() if value.const_value is not None)
    single = (constant.numpy() for constant in constants if constant.size == 1)
    numbers = [abs(float(number.reshape(-1)[0])) for number in single if number.dtype.kind in "if"]
    past = PROBED_PAST + max((int(number) for number in numbers if number <= LARGEST_WINDOW), default=0)
    total, cache_names = past + PROBED_TOKENS, {value.name for value in caches}
    feeds = {}
    for value in model.graph.inputs:
        if value.name in cache_names:
            feeds[value.name] = np.zeros((1, 1, past, 1), value.dtype.numpy())
        elif value.name == "attention_mask":
            feeds[value.name] = np.ones((1, total), np.int64)
        elif value.name == "position_ids":
            feeds[value.name] = np.arange(past, total)[None]
        else:
            feeds[value.name] = np.zeros((1, PROBED_TOKENS, 1), value.dtype.numpy())
    found = _compute(model, [bias], feeds)[0]
    visible = np.tri(PROBED_TOKENS, total, past, dtype=bool)
    if found.shape[-2:] != visible.shape:
        return False
    return bool(np.all(np.where(visible, found == 0, found < -1e4)))


def _drop_masked_rows(attention: ir.Node) -> None:
    # Rows of the mask that see nothing are set to zero behind the attention; a causal row sees at least itself.
    states = attention.outputs[0]
    while (reader := _only_reader(states)) is not None and reader.op_type in ("Reshape", "Transpose"):
        states = reader.outputs[0]
    if reader is None or reader.op_type != "Where" or reader.inputs[2] is not states:
        return
    zeros = ir.convenience.get_const_tensor(reader.inputs[1])
    if zeros is None or zeros.numpy().any():
        return
    ir.convenience.replace_all_uses_with(reader.outputs[0], states)
    merge = _only_reader(states, besides=reader)
    if merge is None or merge.op_type != "Reshape" or (merged := merge.outputs[0].shape) is None:
        return
    if len(merged) == 3 and merged[2] == attention.attributes.get_int("num_heads") * attention.inputs[3].shape[3]:
        ir.convenience.replace_all_uses_with(merge.outputs[0], attention.outputs[0])


def _only_reader(value: ir.Value, besides: ir.Node | None = None) -> ir.Node | None:
    readers = [node for node, _ in value.uses() if node is not besides]
    return readers[0] if len(readers) == 1 else None


def _drop_head_split(attention: ir.Node) -> None:
    # Values are split into heads and merged again where only queries and keys had to be split, for their norms.
    merge = attention.inputs[VALUE].producer() if attention.inputs[VALUE] is not None else None
    split = merge.inputs[0].producer() if merge is not None and merge.op_type == "Reshape" else None
    if split is None or split.op_type != "Reshape":
        return
    values, heads = split.inputs[0].shape, split.outputs[0].shape
    if values is None or heads is None or (len(values), len(heads)) != (3, 4):
        return
    if list(values[:2]) == list(heads[:2]) and values[2] == heads[2] * heads[3]:
        attention.replace_input_with(VALUE, split.inputs[0])


def _tabulate_rotations(model: ir.Model, attentions: list[ir.Node], position_ids: ir.Value, positions: int) -> None:
    # The fusion pads this step's rows with zeros to the length that the operator checks, and numbers them anew.
    tables: dict[ir.Value, ir.Value] = {}
    for node in attentions:
        padded = _input(node, COSINES), _input(node, SINES)
        if None in padded or _input(node, POSITIONS) is None:
            return
        for table in padded:
            concat = table.producer()
            if concat is None or concat.op_type != "Concat":
                return
            tables[table] = concat.inputs[0]
    try:
        rows = _compute(model, list(tables.values()), {"position_ids": np.arange(positions)[None]})
        few = _compute(model, list(tables.values()), {"position_ids": np.arange(1, PROBED_TOKENS)[None]})
    except ValueError:
        return
    if not all(np.array_equal(whole[1:PROBED_TOKENS], part) for whole, part in zip(rows, few, strict=True)):
        return
    made = {}
    for index, (table, numbers) in enumerate(zip(tables, rows, strict=True)):
        name = f"rotation_table_{index}"
        kind = attentions[0].inputs[PAST][0].dtype.numpy()
        made[table] = ir.val(name, const_value=ir.tensor(numbers.astype(kind), name=name))
        model.graph.register_initializer(made[table])
    for node in attentions:
        node.replace_input_with(COSINES, made[node.inputs[COSINES]])
        node.replace_input_with(SINES, made[node.inputs[SINES]])
        node.replace_input_with(POSITIONS, position_ids)


def _read_lengths_off_mask(graph: ir.Graph, attentions: list[ir.Node], mask: ir.Value, new: ir.Value) -> None:
    tape = ir.tape.Tape(graph)
    one = ir.val("cache_one", const_value=ir.tensor(np.ones(1, np.int32), name="cache_one"))
    graph.register_initializer(one)
    total = tape.op("Shape", [mask], attributes={"start": 1, "end": 2})
    past = tape.op("Sub", [total, tape.op("Shape", [new], attributes={"start": 1, "end": 2})])
    filled = tape.op("Cast", [total], attributes={"to": ir.DataType.INT32})
    last = tape.op("Sub", [filled, one])
    length = tape.op("Squeeze", [filled])
    for node in reversed(tape.nodes):
        graph.insert_before(graph[0], node)
    for value, kind, shape in ((past, ir.DataType.INT64, [1]), (last, one.dtype, [1]), (length, one.dtype, [])):
        value.dtype, value.shape = kind, ir.Shape(shape)
    for node in attentions:
        node.replace_input_with(LAST, last)
        node.replace_input_with(TOTAL, length)
    for node in [node for attention in attentions for cache in attention.inputs[PAST] for node, _ in cache.uses()]:
        axes = node.attributes.get_int("start", 0), node.attributes.get_int("end", 4)
        if node.op_type == "Shape" and axes == (2, 3):
            ir.convenience.replace_all_uses_with(node.outputs[0], past)
