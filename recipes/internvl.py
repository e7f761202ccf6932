"""InternVL's processor on a machine without torchvision, for pictures and text.

The stock class insists on a video processor, which exists for torchvision only. FaceLLM has no videos, and nothing in
this project needs torchvision, so the check for that one part is left out; everything else is the stock code.
"""

import shutil
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor, AutoTokenizer, InternVLProcessor
from transformers.utils import cached_file, is_torchvision_available

from modeling_facemllm.versions_facemllm import AutoImageProcessor

_COPIED = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.jinja",
    "chat_template.json",
)


class PictureInternVLProcessor(InternVLProcessor):
    """`InternVLProcessor` without videos; saves the files it was loaded from, unchanged."""

    source: str = ""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name == "video_processor":
            return None
        return super().check_argument_for_proper_class(argument_name, argument)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> list[str]:
        folder = Path(save_directory)
        self.tokenizer.save_pretrained(folder)
        for name in _COPIED:
            path = cached_file(self.source, name, _raise_exceptions_for_missing_entries=False)
            if path is not None:
                shutil.copyfile(path, folder / name)
        return [str(path) for path in folder.iterdir()]


# Saved files name the class, and they are InternVL's own.
PictureInternVLProcessor.__name__ = "InternVLProcessor"


def load_processor(base: str, **kwargs: Any) -> Any:
    """The processor of the model at `base` (folder or Hub id), for InternVL one that can be made here."""
    if is_torchvision_available() or AutoConfig.from_pretrained(base, **kwargs).model_type != "internvl":
        return AutoProcessor.from_pretrained(base, **kwargs)
    settings, _ = InternVLProcessor.get_processor_dict(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    processor = PictureInternVLProcessor(
        AutoImageProcessor.from_pretrained(base),
        tokenizer,
        image_seq_length=settings.get("image_seq_length", 256),
        chat_template=settings.get("chat_template") or tokenizer.chat_template,
    )
    processor.source = base
    return processor
