"""What vLLM's and SGLang's Transformers backends do with a model folder, in a process that has neither them nor this
project. Their calls are copied from `vllm/model_executor/models/transformers/` and `sglang/srt/models/transformers/`;
what they put in place of layers is here as small as it can be. Run as a script:

python -P engines.py vllm|sglang FOLDER PROMPTS REPORT TENSORS
"""

import contextlib
import importlib.util
import json
import pathlib
import re
import sys

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.conversion_mapping import WeightRenaming, get_model_conversion_mapping
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import ModelOutput

# An editable install of the project would otherwise answer the remote code's imports.
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path[:] = [entry for entry in sys.path if not (pathlib.Path(entry or ".") / "modeling_facemllm").is_dir()]

OVERRIDES = {"auto_map": {"AutoModel": "modeling_facemllm.FaceMLLMModel"}}
NEW_TOKENS = 6


class Attention:
    """One layer's attention over flat tokens of several sequences, keeping the keys and values of each."""

    def __init__(self, config):
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = config.head_dim
        self.scale = self.size**-0.5
        self.held: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, query, key, value, batch: dict[int, int]) -> torch.Tensor:
        """`(tokens, heads * size)` each; `batch` says how many of the tokens belong to which sequence."""
        lengths = list(batch.values())
        parts = zip(batch, query.split(lengths), key.split(lengths), value.split(lengths), strict=True)
        return torch.cat([self.attend(*part) for part in parts])

    def attend(self, sequence: int, query, key, value) -> torch.Tensor:
        query = query.view(len(query), self.heads, self.size).transpose(0, 1)
        new = [tensor.view(len(tensor), self.kv_heads, self.size).transpose(0, 1) for tensor in (key, value)]
        if sequence in self.held:
            new = [torch.cat(pair, dim=1) for pair in zip(self.held[sequence], new, strict=True)]
        self.held[sequence] = tuple(new)
        length, total = query.shape[1], new[0].shape[1]
        seen = torch.ones(length, total, dtype=torch.bool).tril(total - length)
        attended = functional.scaled_dot_product_attention(
            query, *new, attn_mask=seen, scale=self.scale, enable_gqa=True
        )
        return attended.transpose(0, 1).reshape(length, -1)


class EngineLinear(nn.Module):
    """In place of `nn.Linear`, of which it is no kind."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, values):
        return functional.linear(values, self.weight, self.bias)


class EngineConv(nn.Module):
    """In place of `nn.Conv2d`."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.weight, self.bias, self.stride, self.padding = conv.weight, conv.bias, conv.stride, conv.padding

    def forward(self, values):
        return functional.conv2d(values, self.weight, self.bias, self.stride, self.padding)


class EngineEmbedding(nn.Module):
    """In place of the input embeddings."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, width, device="meta"))

    def forward(self, ids):
        return functional.embedding(ids, self.weight)


class MissingLayer(nn.Identity):
    """A layer that another stage of a pipeline has: it hands on its first argument."""

    def forward(self, *args, **kwargs):
        return args[0] if args else next(iter(kwargs.values()))


@contextlib.contextmanager
def parameters_on_meta():
    """Parameters on the meta device, buffers where they are made."""
    register = nn.Module.register_parameter

    def on_meta(module, name, param):
        register(module, name, param)
        if param is not None:
            module._parameters[name] = type(param)(module._parameters[name].to("meta"), param.requires_grad)

    nn.Module.register_parameter = on_meta
    try:
        yield
    finally:
        nn.Module.register_parameter = register


class Engine(nn.Module):
    """What both have in common. `stage` is `(rank, stages)` of a pipeline."""

    name: str

    def __init__(self, folder: str, stage: tuple[int, int] = (0, 1), dtype: torch.dtype = torch.float32):
        super().__init__()
        self.folder, (self.rank, self.stages) = folder, stage
        self.config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        self.config.update(OVERRIDES)
        self.text_config = self.config.get_text_config()
        model_class = get_class_from_dynamic_module(self.config.auto_map["AutoModel"], folder)
        assert model_class.is_backend_compatible()
        self.text_config._attn_implementation = self.name
        torch.set_default_dtype(dtype)
        self.build(dtype)
        self.split_into_stages()
        self.replace_layers(self.model)
        self.layers = {layer: Attention(self.text_config) for layer in range(self.text_config.num_hidden_layers)}
        if not isinstance(self.model.get_input_embeddings(), MissingLayer):
            size = self.text_config.vocab_size, self.text_config.hidden_size
            self.model.set_input_embeddings(EngineEmbedding(*size))
        self.lm_head = EngineEmbedding(self.text_config.vocab_size, self.text_config.hidden_size)
        for module in self.modules():
            for name, param in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(torch.full_like(param, torch.nan, device="cpu")))
            assert not any(buffer.is_meta for buffer in module.buffers(recurse=False))
        self.tied = self.text_config.tie_word_embeddings
        if self.tied and not isinstance(self.model.get_input_embeddings(), MissingLayer):
            self.lm_head.weight = self.model.get_input_embeddings().weight
        self.eval()

    def split_into_stages(self) -> None:
        """Keep what this stage has, after the plan of the model."""
        if self.stages == 1:
            return
        names = [name.removeprefix("model.") for name in self.model._pp_plan]
        (place,) = [at for at, name in enumerate(names) if isinstance(self.model.get_submodule(name), nn.ModuleList)]
        first, last = self.rank == 0, self.rank == self.stages - 1
        missing = [] if first or (last and self.text_config.tie_word_embeddings) else names[:place]
        missing += [] if last else names[place + 1 :]
        for name in missing:
            parent, _, child = name.rpartition(".")
            setattr(self.model.get_submodule(parent), child, MissingLayer())
        layers = self.model.get_submodule(names[place])
        each = len(layers) // self.stages
        for layer in range(len(layers)):
            if layer // each != self.rank:
                layers[layer] = MissingLayer()

    def replace_layers(self, module: nn.Module) -> None:
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, EngineLinear(child))
            elif isinstance(child, nn.Conv2d):
                setattr(module, name, EngineConv(child))
            else:
                self.replace_layers(child)

    def load(self) -> dict[str, list[str]]:
        """Every weight by its name; the names that found no place, and the places that found no weight."""
        weights = {
            self.renamed(name): weight for name, weight in load_file(f"{self.folder}/model.safetensors").items()
        }
        places = dict(self.named_parameters())
        if self.tied:
            weights.pop("lm_head.weight", None)
        for name in weights.keys() & places.keys():
            places[name].data.copy_(weights[name])
        return {
            "unexpected": sorted(weights.keys() - places.keys()),
            "missing": sorted(places.keys() - weights.keys()),
        }

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return functional.linear(hidden, self.lm_head.weight)


class VLLM(Engine):
    name = "vllm"

    def build(self, dtype: torch.dtype) -> None:
        self.config.dtype = torch.get_default_dtype()
        options = {"config": self.config, "dtype": dtype, "trust_remote_code": True}
        with torch.device("meta"):  # to learn the class of the decoder, which is compiled
            self.decoder_class = type(AutoModel.from_config(**options).get_decoder())
        with parameters_on_meta():
            self.model = AutoModel.from_config(**options)

    def renamed(self, name: str) -> str:
        for mapping in get_model_conversion_mapping(self.model):
            if isinstance(mapping, WeightRenaming):
                name = mapping.rename_source_key(name)[0]
        children = "|".join(child for child, _ in self.model.named_children())
        name = re.sub(rf"^(?!model\.)(({children}).*)", r"model.\1", name)
        name = re.sub(rf"^(model\.)((?!{children}).+)", r"\2", name)
        return re.sub(r"^model\.(.+\.)*(lm_head.+)", r"\2", name)

    def process(self, prompts: list[dict], processor) -> list[tuple[list[int], torch.Tensor | None]]:
        """Token ids and pixels of each prompt: pictures are processed beside a text of placeholders alone."""
        size = processor.image_processor.size
        (most,) = processor._get_num_multimodal_tokens(image_sizes=([size.get("height"), size.get("width")],))[
            "num_image_tokens"
        ]
        rows = []
        for prompt in prompts:
            ids = processor.tokenizer.encode(prompt["text"], add_special_tokens=False)
            images = [Image.open(path) for path in prompt["images"]]
            if not images:
                rows.append((ids, None))
                continue
            counted = processor._get_num_multimodal_tokens(
                image_sizes=[(image.height, image.width) for image in images]
            )
            inputs = processor(
                text=processor.image_token * len(images),
                images=images,
                return_text_replacement_offsets=True,
                return_tensors="pt",
            )
            assert len(inputs["pixel_values"]) == sum(counted["num_image_patches"])
            written = [
                processor.tokenizer.encode(entry["replacement"], add_special_tokens=False)
                for entry in inputs["text_replacement_offsets"][0]
            ]
            assert [len(tokens) for tokens in written] == counted["num_image_tokens"] == [most] * len(images)
            (image_token,) = processor.tokenizer.encode(processor.image_token, add_special_tokens=False)
            replacements = iter(written)
            ids = [new for token in ids for new in (next(replacements) if token == image_token else [token])]
            rows.append((ids, inputs["pixel_values"]))
        return rows

    def embed(self, ids: torch.Tensor, pixels: torch.Tensor | None) -> torch.Tensor:
        embeddings = self.model.language_model.get_input_embeddings()(ids)
        if pixels is not None:
            features = self.model.get_image_features(pixels)
            features = features.pooler_output if isinstance(features, ModelOutput) else features[0]
            embeddings = embeddings.masked_scatter(
                (ids == self.config.image_token_id)[:, None], features.reshape(-1, features.shape[-1])
            )
        return embeddings

    def hidden(self, ids, pixels, positions, batch, embeddings=None) -> torch.Tensor:
        embeddings = self.embed(ids, pixels) if embeddings is None else embeddings
        self.batch = batch
        outputs = self.model(
            input_ids=None,
            inputs_embeds=embeddings[None],
            use_cache=False,
            position_ids=positions[None],
            attention_instances={number: (layer, self) for number, layer in self.layers.items()},
            return_dict=False,
        )
        return outputs[0][0, ...]


class SGLang(Engine):
    name = "sglang"

    def build(self, dtype: torch.dtype) -> None:
        with parameters_on_meta():
            self.model = AutoModel.from_config(
                self.config, torch_dtype=torch.get_default_dtype(), trust_remote_code=True
            )
        # Attention modules of the language model are known by the object that configures them.
        self.found = {
            str(module.layer_idx): module
            for module in self.model.modules()
            if hasattr(module, "is_causal") and getattr(module, "layer_idx", None) is not None
            if getattr(module, "config", None) is self.text_config
        }
        assert len(self.found) == self.text_config.num_hidden_layers

    def renamed(self, name: str) -> str:
        prefixes = {
            "language_model.model.": "model.language_model.",
            "language_model.lm_head.": "lm_head.",
            "vision_tower.": "model.vision_tower.",
            "model.layers.": "model.language_model.layers.",
            "model.embed_tokens.": "model.language_model.embed_tokens.",
            "model.norm.": "model.language_model.norm.",
            "model.model.": "model.",
            "model.lm_head.": "lm_head.",
            "model.": "model.",
            "lm_head.": "lm_head.",
            "": "model.",
        }
        prefix = max(filter(name.startswith, prefixes), key=len)
        return prefixes[prefix] + name.removeprefix(prefix)

    def process(self, prompts: list[dict], processor) -> list[tuple[list[int], torch.Tensor | None]]:
        rows = []
        for prompt in prompts:
            images = [Image.open(path).convert("RGB") for path in prompt["images"]]
            inputs = processor(text=prompt["text"], return_tensors="pt", **({"images": images} if images else {}))
            rows.append((inputs["input_ids"].flatten().tolist(), inputs.get("pixel_values")))
        return rows

    def hidden(self, ids, pixels, positions, batch, embeddings=None) -> torch.Tensor:
        return self.model(
            input_ids=ids[None] if embeddings is None else None,
            inputs_embeds=None if embeddings is None else embeddings[None],
            use_cache=False,
            position_ids=positions[None],
            return_dict=False,
            forward_batch=batch,
            attention_instances=self.layers,
            **({} if pixels is None else {"pixel_values": pixels}),
        )[0][0, ...]


def vllm_attention(module, query, key, value, attention_mask, scaling=None, attention_instances=None, **kwargs):
    attention, engine = attention_instances[module.layer_idx]
    attention.scale = attention.scale if scaling is None else float(scaling)
    flat = [tensor.transpose(1, 2).reshape(query.shape[-2], -1) for tensor in (query, key, value)]
    return attention(*flat, engine.batch), None


def sglang_attention(
    module,
    query,
    key,
    value,
    attention_mask=None,
    scaling=None,
    attention_instances=None,
    forward_batch=None,
    **kwargs,
):
    if attention_mask is not None or kwargs.get("dropout") or not kwargs.get("is_causal", True):
        raise ValueError("SGLang takes no masks, no dropout and causal attention only")
    attention = attention_instances[module.layer_idx]
    attention.scale = attention.scale if scaling is None else scaling
    tokens = query.shape[-2]
    flat = [tensor.transpose(1, 2).reshape(tokens, -1) for tensor in (query, key, value)]
    return attention(*flat, forward_batch).reshape(1, tokens, attention.heads, attention.size), None


ALL_ATTENTION_FUNCTIONS.register("vllm", vllm_attention)
ALL_ATTENTION_FUNCTIONS["sglang"] = sglang_attention
ENGINES = {"vllm": VLLM, "sglang": SGLang}


def prefill(engine: Engine, rows: list, embeddings: torch.Tensor | None = None) -> torch.Tensor:
    """Hidden states of all prompts as one flat batch, `(tokens, width)`; `embeddings` are an earlier stage's."""
    ids = torch.tensor([token for row, _ in rows for token in row])
    pixels = [each for _, each in rows if each is not None]
    return engine.hidden(
        ids,
        torch.cat(pixels) if pixels else None,
        torch.cat([torch.arange(len(row)) for row, _ in rows]),
        {sequence: len(row) for sequence, (row, _) in enumerate(rows)},
        embeddings,
    )


def generate(engine: Engine, rows: list, hidden: torch.Tensor) -> list[list[int]]:
    """Greedy tokens of all sequences, one a step, over the keys and values that the engine holds."""
    lengths = torch.tensor([len(row) for row, _ in rows])
    last = engine.logits(hidden[lengths.cumsum(0) - 1]).argmax(-1)
    said = [last]
    while len(said) < NEW_TOKENS:
        batch = dict.fromkeys(range(len(rows)), 1)
        last = engine.logits(engine.hidden(last, None, lengths + len(said) - 1, batch)).argmax(-1)
        said.append(last)
    return torch.stack(said, dim=1).tolist()


@torch.no_grad()
def main(name: str, folder: str, prompts: str, report: str, tensors: str) -> None:
    if importlib.util.find_spec("modeling_facemllm") is not None:
        raise SystemExit("modeling_facemllm is importable: this process is no stranger")
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    engine = ENGINES[name](folder)
    loaded = engine.load()
    rows = engine.process(json.loads(prompts), processor)
    hidden = prefill(engine, rows)

    stages = [ENGINES[name](folder, (rank, 2)) for rank in range(2)]
    for stage in stages:
        stage.load()
    passed = prefill(stages[1], [(ids, None) for ids, _ in rows], prefill(stages[0], rows))

    half = ENGINES[name](folder, dtype=torch.bfloat16)
    half.load()
    save_file(
        {
            "hidden": hidden,
            "logits": engine.logits(hidden),
            "from_stages": passed,
            "in_bfloat16": prefill(half, rows),
        },
        tensors,
    )
    pathlib.Path(report).write_text(
        json.dumps(
            {
                "module": type(engine.model).__module__.split(".")[0],
                "class": type(engine.model).__name__,
                **loaded,
                "dtypes": sorted({str(param.dtype) for param in half.parameters()}),
                "input_ids": [ids for ids, _ in rows],
                "tokens": generate(engine, rows, hidden),
                "tp_plan": engine.model.tp_plan,
                "linears": [n for n, module in engine.model.named_modules() if isinstance(module, EngineLinear)],
                "encoder": type(engine.model.get_encoder(modality="image")).__name__,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
