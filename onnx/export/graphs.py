"""The three graphs of an exported Face-MLLM, as data: file names, inputs, outputs and which of their axes vary.

The layout is the one that transformers.js reads. It lies under `onnx/` of an exported repository, beside the
configuration, the processor and the tokenizer.
"""

from dataclasses import dataclass

VARYING = frozenset(
    {"images", "batch_size", "length", "past_length", "total_length", "predictions", "answers", "answer_length"}
)
"""The axes that have no size of their own; a decoder that is fused for one row fixes `batch_size` at 1.

transformers.js makes the empty cache from the shapes in the graph, and knows only `batch_size` by name."""


@dataclass(frozen=True)
class Graph:
    """One ONNX file. `inputs` and `outputs` map a tensor's name to the names of its axes; axes named alike agree."""

    name: str
    inputs: dict[str, tuple[str, ...]]
    outputs: dict[str, tuple[str, ...]]

    @property
    def file_name(self) -> str:
        return f"{self.name}.onnx"


def graphs(num_hidden_layers: int) -> tuple[Graph, Graph, Graph]:
    """Vision encoder (projector included), token embeddings and decoder of a language model with that many layers.

    The decoder returns the logits of the last position only, of shape `(batch, 1, vocab_size)`.
    """
    cache = ("batch_size", "kv_heads", "past_length", "head_dim")
    grown = ("batch_size", "kv_heads", "total_length", "head_dim")
    slots = [f"{layer}.{part}" for layer in range(num_hidden_layers) for part in ("key", "value")]
    return (
        Graph(
            "vision_encoder",
            inputs={"pixel_values": ("images", "channels", "height", "width")},
            outputs={"image_features": ("images", "image_tokens", "hidden")},
        ),
        Graph(
            "embed_tokens",
            inputs={"input_ids": ("batch_size", "length")},
            outputs={"inputs_embeds": ("batch_size", "length", "hidden")},
        ),
        Graph(
            "decoder_model_merged",
            inputs={
                "inputs_embeds": ("batch_size", "length", "hidden"),
                "attention_mask": ("batch_size", "total_length"),
                "position_ids": ("batch_size", "length"),
                **{f"past_key_values.{slot}": cache for slot in slots},
            },
            outputs={"logits": ("batch_size", "last", "vocab"), **{f"present.{slot}": grown for slot in slots}},
        ),
    )


SCORING = Graph(
    "scoring",
    inputs={
        "pixel_values": ("images", "channels", "height", "width"),
        "input_ids": ("batch_size", "length"),
        "position_ids": ("batch_size", "length"),
        "visible": ("batch_size", "length", "length"),
        "predicting": ("predictions",),
        "answer_rows": ("answers", "answer_length"),
        "answer_ids": ("answers", "answer_length"),
    },
    outputs={"log_likelihoods": ("answers",)},
)
"""Closed questions in one run: pictures, one row of tokens for each face, and what the answers are.

`visible` says which tokens of its row each token sees (`modeling_facemllm.token_tree_facemllm`). `predicting` are the
places, counted through all rows, that predict a token of an answer. Of each answer's tokens, `answer_ids` are the ids
(-1 behind a shorter answer's end) and `answer_rows` which of `predicting` predict them.
"""
