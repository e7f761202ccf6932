"""Whether a folder loads on the code that it carries. Run as a script, in a process that has registered no other:

python -P own_code_check.py FOLDER

The configuration and the processor are loaded, and the classes of the model and of its pipelines imported; no weights.
"""

import sys
from pathlib import Path


def main(folder: str) -> None:
    from transformers import AutoConfig, AutoProcessor
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    if not (Path(folder) / "config.json").is_file():  # an adapter's folder
        return
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    for name in {config.auto_map["AutoModel"], config.custom_pipelines["face-analysis"]["impl"]}:
        get_class_from_dynamic_module(name, folder)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
