"""The graphs, traced by transformers' own exporter (`transformers.exporters`, from version 5).

`fusions` is the device for which ONNX Runtime's own operators are used, None for none.
"""

from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from .folder import save_graph
from .graphs import SCORING, VARYING, graphs
from .scoring_graph import Scoring, scoring_inputs
from .shared_cache import share_cache
from .tracing import trace
from .wrappers import BATCH, Decoder, TokenEmbeddings, VisionEncoder, decoder_inputs, embedding_inputs, vision_inputs


def write_graphs(model: PreTrainedModel, folder: Path, *, fusions: str | None, step: Callable[[str], None]) -> bool:
    """Write the three graphs; whether the decoder's cache may be one buffer. `step` gets what is done next.

    A fused decoder takes one row only, with attention, rotation and norms in one operator each: of a batch it would
    answer wrongly for rows that are padded.
    """
    positions = getattr(model.config.text_config, "max_position_embeddings", None)
    vision, embeddings, decoder = graphs(model.config.text_config.num_hidden_layers)
    rows, varying = (1, VARYING - {"batch_size"}) if fusions else (BATCH, VARYING)
    for graph, module, inputs, varying_axes in (
        (vision, VisionEncoder(model), vision_inputs(model), VARYING),
        (embeddings, TokenEmbeddings(model), embedding_inputs(model), VARYING),
        (decoder, Decoder(model), decoder_inputs(model, rows), varying),
    ):
        step(f"tracing {graph.name}")
        program = trace(graph, module, inputs, varying_axes, fusions)
        shared = graph is decoder and bool(fusions) and share_cache(program, positions)
        save_graph(program, folder / graph.file_name)
    return shared


def write_scoring_graph(model: PreTrainedModel, folder: Path, *, fusions: str | None) -> None:
    """Write `scoring.onnx`, which takes batches, fused or not.

    Raises:
        CannotPack: when the language model can only be asked one question at a time; it says why.
    """
    save_graph(trace(SCORING, Scoring(model), scoring_inputs(model), VARYING, fusions), folder / SCORING.file_name)
