"""What somebody does who has transformers and a downloaded folder, but not this project. Run as a script:

python -P stranger.py FOLDER PHOTO REPORT RESAVED
"""

import importlib.util
import json
import pathlib
import sys

# What the project installs besides transformers, torch and Pillow, a stranger may lack.
LACKING = {
    "accelerate",
    "cv2",
    "datasets",
    "evaluate",
    "h5py",
    "matplotlib",
    "onnx",
    "peft",
    "scipy",
    "sklearn",
    "trl",
}


class Finder:
    """A finder of modules that finds none of those that a stranger lacks."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in LACKING else self.finder.find_spec(name, path, target)


# An editable install of the project would otherwise answer the remote code's imports.
finders = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.meta_path[:] = map(Finder, finders)
sys.path[:] = [entry for entry in sys.path if not (pathlib.Path(entry or ".") / "modeling_facemllm").is_dir()]


def main(folder: str, photo: str, report: str, resaved: str) -> None:
    for package in ("modeling_facemllm", "facemllm", "facemllm_recipes"):
        if importlib.util.find_spec(package) is not None:
            raise SystemExit(f"{package} is importable: this process is no stranger")

    import torch
    import transformers
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoProcessor,
        pipeline,
    )

    question = [
        {
            "role": "user",
            "content": [{"type": "image", "path": photo}, {"type": "text", "text": "Does this person wear glasses?"}],
        }
    ]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    inputs = processor.apply_chat_template(
        question, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )

    def answer(model, inputs) -> list[int]:
        with torch.no_grad():
            output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        return output[0, inputs["input_ids"].shape[1] :].tolist()

    tokens = {}
    autos = [AutoModel, AutoModelForImageTextToText, AutoModelForCausalLM]
    if hasattr(transformers, "AutoModelForMultimodalLM"):  # new in transformers 5
        autos.append(transformers.AutoModelForMultimodalLM)
    for auto in autos:
        model = auto.from_pretrained(folder, trust_remote_code=True, use_safetensors=True)
        tokens[auto.__name__] = answer(model, inputs)

    ask = pipeline("image-text-to-text", model=folder, trust_remote_code=True, device="cpu")
    said = ask(text=question, max_new_tokens=12, do_sample=False, return_full_text=False)[0]["generated_text"]

    analyze = pipeline("face-analysis", model=folder, trust_remote_code=True, device="cpu", detector="none")
    asked = {"questions": ["Does this person wear glasses?"]}
    faces = analyze(photo, **asked, max_new_tokens=12)
    analyze.save_pretrained(resaved)
    # Without a task, the folder says itself which one it is for.
    saved_analyze = pipeline(model=resaved, trust_remote_code=True, device="cpu", detector="none")

    # A fine-tuned copy: one weight differs, and it is saved from the remote code, not from the package.
    with torch.no_grad():
        model.model.projector.linear_2.bias.add_(1.0)
    tuned = answer(model, inputs)
    model.save_pretrained(resaved)
    processor.save_pretrained(resaved)
    reloaded = AutoModelForImageTextToText.from_pretrained(resaved, trust_remote_code=True)
    again = AutoProcessor.from_pretrained(resaved, trust_remote_code=True).apply_chat_template(
        question, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )

    pathlib.Path(report).write_text(
        json.dumps(
            {
                "transformers": transformers.__version__,
                "classes": [type(part).__module__.split(".")[0] for part in (config, processor, model)],
                "model_type": config.model_type,
                "input_ids": inputs["input_ids"][0].tolist(),
                "tokens": tokens,
                "pipeline": said,
                "decoded": processor.decode(tokens["AutoModel"], skip_special_tokens=True),
                "analysis": faces,
                "analysis_resaved": saved_analyze(photo, **asked, max_new_tokens=12),
                "tuned": tuned,
                "tuned_reloaded": answer(reloaded, again),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
