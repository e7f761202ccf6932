"""The cards of models: how to load one, what it was trained on, what it is not for, what it reached."""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from datasets_scripts.files import read_json, write_text
from datasets_scripts.shown_text import in_code, in_markdown

PIPELINE = "image-text-to-text"

_LOADING = """
```python
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = "{folder}"{comment}
model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
messages = [{{"role": "user", "content": [
    {{"type": "image", "path": "face.png"}},
    {{"type": "text", "text": {question}}},
]}}]
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
with torch.inference_mode():
    tokens = model.generate(**inputs, max_new_tokens=16)
print(processor.decode(tokens[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```
"""

_DRAWN_QUESTION = '"What is the expression?"'

_LAW = """
## Law

An expression is what a face shows, not what a person feels. Inferring emotions at work or in schools, and categorising
people by race from biometric data, are prohibited practices in the European Union (AI Act, Art. 5).
"""

_NOT_FOR = (
    """
## What it is not for

Identification; sorting people by race; emotions at work or in schools; decisions about a person. Accuracy differs
between groups of people: measure it per group, with n and intervals, before you rely on it.
"""
    + _LAW
)

_DRAWN = """
# A face MLLM for drawn faces

Made by `facemllm quickstart --seed {seed}`. It answers questions about **drawn** faces of 64 pixels and has never
seen a photograph: its answers about one mean nothing. It identifies nobody.
{loading}
## What it reached

On {asked} held-out faces; an answer counts if the generated text is the expected value, or mentions it and no other.

| attribute | accuracy | 95 % interval | majority baseline |
|---|---|---|---|
{rows}

The attributes marked zero-shot were never asked about a picture in training.
"""

_TRAINED = """
# {name}

{what}, trained with facemllm. It describes what a face shows, and identifies nobody.
{loading}
## Training

{training}
"""

_EXPORTED = """
# {name}

{what}, as ONNX graphs: vision encoder, token embeddings, decoder{scoring}.
ONNX Runtime runs them without PyTorch. It describes what a face shows, and identifies nobody.

```python
from facemllm_onnx import FaceMLLMForONNX

model = FaceMLLMForONNX.from_pretrained("{repo_id}")  # on CUDA where onnxruntime-gpu finds it, else on the CPU
print(model.ask("face.png", {question}))
```

The commands take it as they take any model ({command}),
and transformers.js reads the same graphs with the configuration in `transformers.js/`.

## Export

| | |
|---|---|
{rows}
"""

_ADAPTER_LOADING = """
```python
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained("{base}"), "{folder}")
processor = AutoProcessor.from_pretrained("{base}")
```
"""


def write_card(report: Mapping[str, Any], folder: Path) -> None:
    """Write `README.md`, with metadata for the Hub, into the model `folder`; `report` is `report.json`'s."""
    from huggingface_hub import EvalResult

    asked = max(entry["n"] for entry in report["per_attribute"].values())
    results = [("mean of the trained attributes", report["mean_accuracy"])]
    results += [(f"{name}, zero-shot", entry["accuracy"]) for name, entry in report["zero_shot"].items()]
    about = {"task_type": PIPELINE, "dataset_type": "drawn-faces", "dataset_name": "Drawn faces, test split"}
    results = [
        EvalResult(**about, metric_type="accuracy", metric_name=f"Accuracy, {name}", metric_value=value)
        for name, value in results
    ]
    rows = [_row(name, entry) for name, entry in report["per_attribute"].items()]
    rows += [_row(f"{name} (zero-shot)", entry) for name, entry in report["zero_shot"].items()]
    loading = _LOADING.format(folder=".", comment="  # this folder, or its Hub id", question=_DRAWN_QUESTION)
    body = _DRAWN.format(seed=report["seed"], asked=asked, rows="\n".join(rows), loading=loading) + _LAW
    named = {"model_name": "facemllm-quickstart", "license": "apache-2.0", "eval_results": results}
    write_text(folder / "README.md", _card(body, "transformers", "trl", **named))


def trained_model_card(folder: Path, repo_id: str, base_model: str | None = None) -> str:
    """The card of a trained model or adapter, of `base_model`: what its `run.json` knows, and no numbers."""
    if not (folder / "adapter_config.json").is_file():
        library, tags, what = "transformers", (), "A multimodal language model for pictures of faces"
        what += f", tuned from {_link(base_model)}" if base_model else ""
        loading = _LOADING.format(folder=repo_id, comment="", question=_sample_question(folder / "config.json"))
    else:
        library, tags, what = "peft", ("lora",), f"LoRA adapters for {_link(base_model)} on pictures of faces"
        loading = _ADAPTER_LOADING.format(folder=repo_id, base=base_model)
    name, training = repo_id.split("/")[1], _training(folder / "run.json")
    body = _TRAINED.format(name=name, what=what, loading=loading, training=training) + _NOT_FOR
    return _card(body, library, *tags, base_model=base_model)


def exported_model_card(folder: Path, record: Mapping[str, Any], repo_id: str, base_model: str | None = None) -> str:
    """The card of an ONNX export: how to run it, and what `record`, its `export.json`, says of it.

    `base_model` is the Hub id of the model that it was exported from, if that is there.
    """
    quantized = base_model and record["precision"] not in ("fp32", "fp16", "bf16")
    body = _EXPORTED.format(
        name=repo_id.split("/")[1],
        what=_link(base_model) if base_model else "A multimodal language model for pictures of faces",
        scoring=", and one that scores closed questions" if "scoring" in record["graphs"] else "",
        repo_id=repo_id,
        question=(question := _sample_question(folder / "config.json")),
        command=in_code(f"facemllm ask {repo_id} face.png {shlex.quote(json.loads(question))}"),
        rows="\n".join(f"| {what} | {value} |" for what, value in _export_facts(record)),
    )
    relation = {"base_model_relation": "quantized"} if quantized else {}
    return _card(body + _NOT_FOR, "onnx", "onnx", base_model=base_model, **relation)


def _card(body: str, library: str, *tags: str, **metadata: Any) -> str:
    from huggingface_hub import ModelCardData

    tags = ["face-analysis", "facemllm", *tags]
    data = ModelCardData(language="en", library_name=library, pipeline_tag=PIPELINE, tags=tags, **metadata)
    return f"---\n{data.to_yaml()}\n---\n{body}"


def _link(model: str) -> str:
    return f"[{in_markdown(model)}](https://huggingface.co/{quote(model)})"


def _export_facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "precision", in_markdown(record["precision"])
    yield "decoder", "one prompt at a time, fused" if record["batch"] == "one" else "several prompts at once"
    yield "for", {"cpu": "the CPU", "cuda": "CUDA"}[record["device"]]
    yield "size", f"{sum(graph['bytes'] for graph in record['graphs'].values()) / 1e6:,.1f} MB"
    yield (
        "made with",
        in_markdown(", ".join(f"{package} {version}" for package, version in record["versions"].items())),
    )
    for name, found in (record.get("quality") or {}).items() if record["precision"] != "fp32" else ():
        losses = ", ".join(f"{way} {figures['loss']:+.2f} points" for way, figures in found["ways"].items())
        marked = " — **loses more than a point**" if found["marked"] else ""
        yield (
            f"accuracy lost against fp32 on {in_markdown(name)}",
            f"{in_markdown(losses)} ({found['faces']:,} faces){marked}",
        )


def _sample_question(config: Path) -> str:
    """A question that the model was taught, in quotes; one that leaves all open where its configuration names none."""
    tasks = (read_json(config) or {}).get("face_tasks") or {}
    usual = [task["question"] for task in tasks.values() if not task.get("on_request")]
    return json.dumps(usual[0] if usual else "Describe this face.", ensure_ascii=False)


def _training(path: Path) -> str:
    """The corpora and steps of a run, by the last part of their paths: whose disk they lay on is nobody's business."""
    run = read_json(path) or {}
    corpora = [
        f"- {in_code(Path(fact['path']).name)}, config {in_code(fact['config'])}, split {in_code(fact['split'])}: "
        f"{fact['usable']:,} rows"
        for fact in run.get("data", ())
        if {"path", "config", "split", "usable"} <= set(fact)
    ]
    if not corpora:
        return "Its training is not recorded in this folder."
    return "\n".join([f"{run['steps']:,} steps, seed {run['recipe']['seed']}, on", "", *corpora])


def _row(name: str, entry: Mapping[str, Any]) -> str:
    low, high = entry["interval"]
    name = in_markdown(name.replace("_", " "))
    return f"| {name} | {entry['accuracy']:.3f} | {low:.2f}–{high:.2f} | {entry['majority']:.3f} |"
