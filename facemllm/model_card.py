"""The card of a quickstart's model: how to load it, what it was trained on, what it reached."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BODY = """
# A face MLLM for drawn faces

Made by `facemllm quickstart --seed {seed}`. It answers questions about **drawn** faces of 64 pixels and has never
seen a photograph: its answers about one mean nothing. It identifies nobody.

```python
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = "."  # this folder, or its Hub id
model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
messages = [{{"role": "user", "content": [
    {{"type": "image", "path": "face.png"}},
    {{"type": "text", "text": "What is the expression?"}},
]}}]
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
with torch.inference_mode():
    tokens = model.generate(**inputs, max_new_tokens=16)
print(processor.decode(tokens[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```

## What it reached

On {asked} held-out faces; an answer counts only if the generated text equals the expected value.

| attribute | accuracy | 95 % interval | majority baseline |
|---|---|---|---|
{rows}

The attributes marked zero-shot were never asked about a picture in training.

## Law

An expression is what a face shows, not what a person feels. Inferring emotions at work or in schools, and categorising
people by race from biometric data, are prohibited practices in the European Union (AI Act, Art. 5).
"""


def write_card(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``README.md``, with metadata for the Hub, into the model ``folder``; ``report`` is ``report.json``'s."""
    from huggingface_hub import EvalResult, ModelCardData

    asked = max(entry["n"] for entry in report["per_attribute"].values())
    results = [("mean of the trained attributes", report["mean_accuracy"])]
    results += [(f"{name}, zero-shot", entry["accuracy"]) for name, entry in report["zero_shot"].items()]
    data = ModelCardData(
        model_name="facemllm-quickstart",
        license="apache-2.0",
        language="en",
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        tags=["face-analysis", "facemllm", "trl"],
        eval_results=[
            EvalResult(
                task_type="image-text-to-text",
                dataset_type="drawn-faces",
                dataset_name="Drawn faces, test split",
                metric_type="accuracy",
                metric_name=f"Accuracy, {name}",
                metric_value=value,
            )
            for name, value in results
        ],
    )
    rows = [_row(name, entry) for name, entry in report["per_attribute"].items()]
    rows += [_row(f"{name} (zero-shot)", entry) for name, entry in report["zero_shot"].items()]
    body = _BODY.format(seed=report["seed"], asked=asked, rows="\n".join(rows))
    (folder / "README.md").write_text(f"---\n{data.to_yaml()}\n---\n{body}", encoding="utf-8")


def _row(name: str, entry: Mapping[str, Any]) -> str:
    low, high = entry["interval"]
    return f"| {name.replace('_', ' ')} | {entry['accuracy']:.3f} | {low:.2f}–{high:.2f} | {entry['majority']:.3f} |"
