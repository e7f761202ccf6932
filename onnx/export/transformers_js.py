"""What transformers.js (npm `@huggingface/transformers`) reads of an exported folder, beside the graphs.

It knows no Face-MLLM, but its LLaVA runs these graphs as they are. So the folder gets a second configuration under
`transformers.js/`, which the caller hands to `from_pretrained` beside the folder, and the few settings that its
processor and tokenizer look for in files of fixed names. Python's classes load the folder as before.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

CONFIG_FOLDER = "transformers.js"


def write_transformers_js_files(
    folder: str | os.PathLike, config, processor, external_data: Mapping[str, bool]
) -> None:
    """Make an exported folder readable for transformers.js 4.

    Writes `transformers.js/config.json` and `preprocessor_config.json`, and adds to `processor_config.json` and
    `tokenizer_config.json`, which have to be there.

    Args:
        folder: the exported folder, with the processor saved in it.
        config: the model's [`FaceMLLMConfig`].
        processor: the model's [`FaceMLLMProcessor`].
        external_data: graph name → whether its weights lie in `NAME.onnx_data` beside it.
    """
    folder = Path(folder)
    (folder / CONFIG_FOLDER).mkdir(exist_ok=True)
    write_json(folder / CONFIG_FOLDER / "config.json", llava_config(config, external_data))
    preprocessing = json.loads(processor.image_processor.to_json_string())
    preprocessing.pop("auto_map", None)
    write_json(folder / "preprocessor_config.json", {**preprocessing, "processor_class": "LlavaProcessor"})
    # LlavaProcessor repeats the placeholder (height // patch_size) · (width // patch_size) + additional times: with
    # patches larger than the image the first term is zero, and the number holds for every tower and pixel shuffle.
    _extend(
        folder / "processor_config.json",
        image_token=processor.image_token,
        patch_size=config.image_size + 1,
        num_additional_image_tokens=config.num_image_tokens,
    )
    _extend(folder / "tokenizer_config.json", chat_template=without_generation_marks(processor.chat_template))


def without_generation_marks(chat_template: str) -> str:
    """The template without `{% generation %}`, which marks what is trained on and which not every Jinja knows."""
    return re.sub(
        r"(\s*)\{%(-?)\s*(?:end)?generation\s*(-?)%\}(\s*)",
        lambda mark: ("" if mark[2] else mark[1]) + ("" if mark[3] else mark[4]),
        chat_template,
    )


def llava_config(config, external_data: Mapping[str, bool]) -> dict:
    """The configuration under which transformers.js runs the graphs: no more than what it reads."""
    text = config.get_text_config()
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": config.image_token_id,
        "text_config": {
            # It takes the type of the language model only to name the numbers of layers and heads of the cache.
            "model_type": "llama",
            "hidden_size": text.hidden_size,
            "num_hidden_layers": text.num_hidden_layers,
            "num_attention_heads": text.num_attention_heads,
            "num_key_value_heads": getattr(text, "num_key_value_heads", None) or text.num_attention_heads,
            "max_position_embeddings": getattr(text, "max_position_embeddings", None),
            "vocab_size": text.vocab_size,
        },
        "transformers.js_config": {
            # It picks a file by the suffix of a type: "fp32" is the one without, which all our precisions have.
            "dtype": "fp32",
            "use_external_data_format": {
                f"{name}.onnx": True for name in sorted(external_data) if external_data[name]
            },
        },
    }


def _extend(path: Path, **settings) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **settings})


def write_json(path: Path, content: dict) -> None:
    """Write a settings file as `save_pretrained` lays it out."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
