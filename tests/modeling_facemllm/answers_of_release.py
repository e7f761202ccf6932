"""A folder saved by one release of transformers, and what each release answers about it. Run as a script:

python -P answers_of_release.py save FOLDER          with this package
python -P answers_of_release.py answer FOLDER ...    without it: prints tokens and probabilities for each folder
"""

import importlib.util
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOWERS = ROOT / "facemllm" / "towers"


def save(folder: str) -> None:
    """The packaged towers with a new projector between them, and a picture beside them."""
    import numpy as np
    import torch
    from PIL import Image

    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

    torch.manual_seed(0)
    vision, text, shared = str(TOWERS / "vision"), str(TOWERS / "text"), {"pixel_shuffle_factor": 2}
    processor = FaceMLLMProcessor.from_towers(vision, text, **shared)
    model = FaceMLLMForConditionalGeneration.from_towers(vision, text, tokenizer=processor.tokenizer, **shared)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(Path(folder) / "photo.png")
    print(json.dumps({}))  # noqa: T201


def answer(*folders: str) -> None:
    """Greedy tokens about the picture, and the probabilities of its attributes, of each folder."""
    stranger = importlib.util.spec_from_file_location("stranger", Path(__file__).with_name("stranger.py"))
    stranger.loader.exec_module(importlib.util.module_from_spec(stranger))  # hides what a stranger lacks

    import torch
    from transformers import AutoModel, AutoProcessor, pipeline

    said = {}
    for folder in map(Path, folders):
        model = AutoModel.from_pretrained(folder, trust_remote_code=True)
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        if type(model).__module__.split(".")[0] != "transformers_modules":
            raise SystemExit(f"{type(model).__module__} is no code of the folder")
        photo = str(folder / "photo.png")
        content = [{"type": "image", "path": photo}, {"type": "text", "text": "Describe the person."}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            tokens = model.generate(**inputs, max_new_tokens=16, do_sample=False)
        analyze = pipeline("face-analysis", model=str(folder), trust_remote_code=True, device="cpu", detector="none")
        (face,) = analyze(photo)
        said[folder.name] = {
            "tokens": tokens[0, inputs["input_ids"].shape[1] :].tolist(),
            "probabilities": [p for task in face["tasks"].values() for p in task["scores"].values()],
        }
    print(json.dumps(said))  # noqa: T201


if __name__ == "__main__":
    {"save": save, "answer": answer}[sys.argv[1]](*sys.argv[2:])
