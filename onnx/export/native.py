"""The three graphs, traced by transformers' own exporter (`transformers.exporters`, from version 5)."""

from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from .folder import EXTERNAL_DATA_ABOVE, save_graph
from .graphs import VARYING, graphs
from .shared_cache import share_cache
from .tracing import trace
from .wrappers import BATCH, Decoder, TokenEmbeddings, VisionEncoder, decoder_inputs, embedding_inputs, vision_inputs


def write_graphs(
    model: PreTrainedModel,
    folder: Path,
    *,
    device: str = "cpu",
    fused: bool = True,
    external_data_above: int = EXTERNAL_DATA_ABOVE,
    step: Callable[[str], None] = lambda what: None,
) -> bool:
    """Write the three graphs with transformers' exporter; whether the decoder's cache may be one buffer.

    Args:
        device: what is fused for.
        fused: whether the decoder takes one row only, with attention, rotation and norms in one operator each. A fused
            decoder of a batch would answer wrongly for rows that are padded.
        step: gets what is done next, before each graph is traced.
    """
    positions = getattr(model.config.text_config, "max_position_embeddings", None)
    vision, embeddings, decoder = graphs(model.config.text_config.num_hidden_layers)
    fusions = device if fused else None
    rows, varying = (1, VARYING - {"batch_size"}) if fused else (BATCH, VARYING)
    for graph, module, inputs, varying_axes in (
        (vision, VisionEncoder(model), vision_inputs(model), VARYING),
        (embeddings, TokenEmbeddings(model), embedding_inputs(model), VARYING),
        (decoder, Decoder(model), decoder_inputs(model, rows), varying),
    ):
        step(f"tracing {graph.name}")
        program = trace(graph, module, inputs, varying_axes, fusions)
        shared = graph is decoder and fused and share_cache(program, positions)
        save_graph(program, folder / graph.file_name, external_data_above)
    return shared
