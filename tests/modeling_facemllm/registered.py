"""What somebody does who has this project installed, and a folder whose own code no longer runs. Run as a script:

python registered.py FOLDER PHOTO REPORT TRUST
"""

import json
import sys
from pathlib import Path


def main(folder: str, photo: str, report: str, trust: str) -> None:
    import transformers
    from transformers import AutoConfig, AutoProcessor, pipeline

    import modeling_facemllm

    modeling_facemllm.register()
    from modeling_facemllm.versions_facemllm import AUTO_MODELS

    options = {"trust_remote_code": True} if trust == "trusted" else {}
    classes = {}
    for auto in (AutoConfig, AutoProcessor, *AUTO_MODELS):
        loaded = auto.from_pretrained(folder, **options)
        classes[auto.__name__] = type(loaded).__module__
    ask = pipeline("image-text-to-text", model=folder, device="cpu", **options)
    analyze = pipeline("face-analysis", model=folder, device="cpu", detector="none", **options)
    unnamed = pipeline(model=folder, device="cpu", detector="none", **options)  # the folder says what it is for
    classes["face-analysis"], classes["unnamed"] = type(analyze).__module__, type(unnamed).__module__
    question = [{"type": "image", "path": photo}, {"type": "text", "text": "Does this person wear glasses?"}]
    said = ask(text=[{"role": "user", "content": question}], max_new_tokens=12, return_full_text=False)
    answers = {
        "transformers": transformers.__version__,
        "classes": classes,
        "said": said[0]["generated_text"].strip(),
        "analysed": analyze(photo, questions=["Does this person wear glasses?"], max_new_tokens=12)[0]["answers"],
    }
    Path(report).write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
