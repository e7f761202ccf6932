"""Face-MLLM for Optimum's ONNX exporter (optimum-onnx 0.1, transformers 4.57): its graphs as Optimum's configurations.

Importing this file registers the model type; Optimum's own entry points then take a Face-MLLM's folder:

    optimum-cli export onnx --model MODEL --trust-remote-code --task image-text-to-text OUT

`write_graphs` and `write_scoring_graph` are what `facemllm export --backend optimum` calls.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx_ir
import torch
from onnx_ir.passes.common import LiftConstantsToInitializersPass
from optimum.exporters.onnx.base import OnnxConfig, OnnxConfigWithPast
from optimum.exporters.onnx.convert import export
from optimum.exporters.onnx.model_patcher import ModelPatcher
from optimum.exporters.tasks import TasksManager
from optimum.utils.normalized_config import NormalizedConfig
from torch import nn
from torch.utils._pytree import tree_map_only
from transformers import PretrainedConfig, PreTrainedModel, ProcessorMixin

from facemllm_onnx.export_location import GRAPH_FOLDER

from .contents import fill_folder
from .exportable import check_exportable
from .folder import ExportError, save_graph
from .graphs import SCORING, VARYING, Graph, graphs
from .precisions import FLOATS
from .request import ExportRequest
from .scoring_graph import Scoring, scoring_inputs
from .tracing import order_tensors, quietly
from .wrappers import (
    BATCH,
    Decoder,
    TokenEmbeddings,
    VisionEncoder,
    cache_shape,
    decoder_inputs,
    embedding_inputs,
    vision_inputs,
)

TASK = "image-text-to-text"


class GraphOnnxConfig(OnnxConfig):
    """One of our graphs in Optimum's terms: its tensors, their axes, and inputs to trace it with."""

    NORMALIZED_CONFIG_CLASS = NormalizedConfig
    values_override = None  # Optimum would turn the model's cache off, and write that into its configuration

    def __init__(self, config: PretrainedConfig, graph: Graph, sample_inputs: dict[str, Any], **kwargs):
        super().__init__(config, task=TASK, **kwargs)
        self.graph, self.sample_inputs = graph, sample_inputs

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        return {name: _varying(axes) for name, axes in self.graph.inputs.items()}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {name: _varying(axes) for name, axes in self.graph.outputs.items()}

    def generate_dummy_inputs(self, framework: str = "pt", **shapes: int) -> dict[str, Any]:
        """The sample inputs, whatever `shapes` Optimum has in mind: an image has one size, a mask covers the cache."""
        inputs = dict(self.sample_inputs)
        if "past_key_values" in inputs:  # torch's tracer takes a pair of keys and values for each layer
            inputs["past_key_values"] = inputs["past_key_values"].to_legacy_cache()
        return inputs if framework == "pt" else tree_map_only(torch.Tensor, lambda tensor: tensor.numpy(), inputs)


class DecoderOnnxConfig(GraphOnnxConfig, OnnxConfigWithPast):
    """The decoder: one graph, which reads a prompt where the cache is empty and goes on where it is not."""

    def __init__(self, config: PretrainedConfig, graph: Graph, sample_inputs: dict[str, Any], **kwargs):
        super().__init__(config, graph, sample_inputs, use_past=True, use_past_in_inputs=True, **kwargs)


class VisionEncoderPatcher(ModelPatcher):
    """While the whole model is exported by Optimum, it is its vision encoder."""

    def __init__(self, config: OnnxConfig, model: PreTrainedModel, model_kwargs: dict[str, Any] | None = None):
        super().__init__(config, model, model_kwargs)
        self.patched_forward = VisionEncoder(model).forward


class FaceMLLMOnnxConfig(GraphOnnxConfig):
    """A whole Face-MLLM, as Optimum's exporter finds it by the model's type.

    Optimum writes one file for a model of this task: here the vision encoder, which it also compares with the model.
    The post-processing, which it leaves to this class, writes the folder.
    """

    _MODEL_PATCHER = VisionEncoderPatcher

    def __init__(self, config: PretrainedConfig, task: str = TASK, float_dtype: str = "fp32", **kwargs):
        precision = FLOATS[float_dtype]
        model = SimpleNamespace(config=config, dtype=getattr(torch, precision.dtype), device=torch.device("cpu"))
        vision = graphs(config.text_config.num_hidden_layers)[0]
        super().__init__(config, vision, vision_inputs(model), float_dtype=float_dtype, **kwargs)
        self.ATOL_FOR_VALIDATION = precision.tolerance

    def post_process_exported_models(
        self, path: Path, models_and_onnx_configs: dict[str, Any], onnx_files_subpaths: list[str]
    ) -> tuple[dict[str, Any], list[str]]:
        """Make `path` a whole export, as `facemllm export --batch` writes it; Optimum then compares its own part.

        Raises:
            ExportError: when the graphs do not answer as the model does.
            ValueError: when Optimum had no processor to give.
        """
        processor = next((part for part in self._preprocessors or () if isinstance(part, ProcessorMixin)), None)
        if processor is None:
            raise ValueError("preprocessors has no processor: pass preprocessors=[AutoProcessor.from_pretrained(…)]")
        for written in path.glob(f"{onnx_files_subpaths[0]}*"):
            written.unlink()
        model = models_and_onnx_configs["model"][0]
        check_exportable(model)
        source = {"name": model.config._name_or_path}
        request = ExportRequest(path, backend="optimum", precision=self.float_dtype, batch=True)
        fill_folder(model, processor, path, request, write_graphs, write_scoring_graph, source=source)
        return models_and_onnx_configs, [f"{GRAPH_FOLDER}/{self.graph.file_name}"]


def parts(model: PreTrainedModel) -> dict[str, tuple[nn.Module, OnnxConfig]]:
    """Of a Face-MLLM the modules and configurations of its three graphs, as `optimum.exporters.onnx` exports them."""
    config = model.config
    vision, embeddings, decoder = graphs(config.text_config.num_hidden_layers)
    return {
        vision.name: (VisionEncoder(model), GraphOnnxConfig(config, vision, vision_inputs(model))),
        embeddings.name: (TokenEmbeddings(model), GraphOnnxConfig(config, embeddings, embedding_inputs(model))),
        decoder.name: (Decoder(model), DecoderOnnxConfig(config, decoder, decoder_inputs(model, BATCH))),
    }


def write_graphs(model: PreTrainedModel, folder: Path, *, step: Callable[[str], None] = lambda what: None) -> None:
    """Write the three graphs into `folder`; they take any number of rows and images. `step` gets what is next.

    Raises:
        ExportError: when Optimum cannot trace the model.
    """
    # Configurations have half a dozen names for how many there are; few models have no module of this name.
    experts = any(name.endswith(".experts") for name, _ in model.named_modules())
    if experts or getattr(model.config.text_config, "num_local_experts", None):
        raise ExportError(
            "a mixture of experts: Optimum's tracing would fix which of them each token goes to; take the backend "
            "transformers"
        )
    for name, (module, config) in parts(model).items():
        step(f"tracing {name}")
        _write(module, config, folder)


def write_scoring_graph(model: PreTrainedModel, folder: Path) -> None:
    """Write `scoring.onnx` into `folder`.

    Raises:
        CannotPack: when the language model can only be asked one question at a time; it says why.
    """
    _write(Scoring(model), GraphOnnxConfig(model.config, SCORING, scoring_inputs(model)), folder)


def _write(module: nn.Module, config: GraphOnnxConfig, folder: Path) -> None:
    configs = [part.config for part in module.modules() if hasattr(getattr(part, "config", None), "use_cache")]
    cached = [part.use_cache for part in configs]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tracing-") as scratch, quietly():
        traced = Path(scratch) / config.graph.file_name
        try:
            # The fix of axes would load the graph into ONNX Runtime to find out sizes that the model's config has.
            export(module, config, traced, device=str(next(module.parameters()).device), disable_dynamic_axes_fix=True)
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise ExportError(
                f"{config.graph.name} cannot be traced by Optimum ({reason}); try the backend transformers"
            ) from error
        finally:
            for part, use_cache in zip(configs, cached, strict=True):
                part.use_cache = use_cache
        _save(onnx_ir.load(traced), config.graph, module.config, folder / traced.name)


def _save(model: onnx_ir.Model, graph: Graph, config: PretrainedConfig, path: Path) -> None:
    """Save with the tensors in the order of `graph`, and each axis of an output with its name or its size."""
    _, heads, head_size = cache_shape(config.text_config)
    sizes = {
        "image_tokens": config.num_image_tokens,
        "hidden": config.text_config.hidden_size,
        "last": 1,
        "vocab": config.text_config.vocab_size,
        "kv_heads": heads,
        "head_dim": head_size,
    }
    order_tensors(model, graph)
    for value in model.graph.outputs:
        value.shape = onnx_ir.Shape([sizes.get(axis, axis) for axis in graph.outputs[value.name]])
    # From 2 GiB on, constants of nodes lie in the traced graph's file of weights, too; only initializers are moved.
    LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)(model)
    save_graph(model, path)


def _varying(axes: tuple[str, ...]) -> dict[int, str]:
    return {index: axis for index, axis in enumerate(axes) if axis in VARYING}


TasksManager.create_register("onnx")("facemllm", TASK)(FaceMLLMOnnxConfig)
