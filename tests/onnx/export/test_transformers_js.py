"""An exported folder on transformers.js: real Node, its own tokenizer, its own reading of pictures."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx_ir
import pytest
import torch
from PIL import Image

from facemllm_onnx.export.folder import save_graph
from facemllm_onnx.export.transformers_js import without_generation_marks, write_transformers_js_files
from modeling_facemllm import FaceMLLMProcessor

NODE_MODULES = os.environ.get("FACEMLLM_NODE_MODULES", "")
NEW_TOKENS = 12

node = pytest.mark.skipif(
    not NODE_MODULES or shutil.which("node") is None,
    reason="FACEMLLM_NODE_MODULES names no node_modules with @huggingface/transformers, or Node is not installed",
)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory, pictures) -> list[dict]:
    """Text alone, after a system message, one picture, two, and a photo in another size that the camera turned."""
    files = tmp_path_factory.mktemp("pictures")
    photo = Image.fromarray(np.add.outer(range(90), range(120)).astype(np.uint8)).convert("RGB")
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(files / "photo.jpg", exif=exif)
    for index, picture in enumerate(pictures):
        picture.resize((32, 32)).save(files / f"{index}.png")
    pictures[0].resize((32, 32)).save(files / "small.jpg")

    def prompt(question: str, *names: str) -> dict:
        content = [{"type": "image"} for _ in names] + [{"type": "text", "text": question}]
        return {"messages": [{"role": "user", "content": content}], "images": [str(files / name) for name in names]}

    system = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Où ? 👋"}]}
    return [
        {**system, "images": []},
        prompt("Who?", "0.png"),
        prompt("Who is it, please?", "small.jpg"),
        prompt("Who are they?", "1.png", "2.png"),
        prompt("Who?", "photo.jpg"),
    ]


def ask_on_node(folder: Path, prompts: list[dict]) -> list[dict]:
    run = subprocess.run(
        ["node", str(Path(__file__).with_name("transformers_js.mjs")), NODE_MODULES],
        input=json.dumps({"folder": str(folder), "prompts": prompts, "max_new_tokens": NEW_TOKENS}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@node
@pytest.mark.parametrize("export", ["onnx_folder", "onnx_batch_folder"])
def test_the_answers_are_pytorchs(export, request, prompts, model, processor):
    for prompt, answer in zip(prompts, ask_on_node(request.getfixturevalue(export), prompts), strict=True):
        images = [Image.open(path) for path in prompt["images"]]
        inputs = processor.apply_chat_template(
            prompt["messages"],
            images=images or None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        assert answer["input_ids"] == inputs["input_ids"][0].tolist()
        if images:
            pixels = torch.tensor(answer["pixel_values"])
            if all(image.size == (32, 32) for image in images):  # nothing to resize, the one step that differs
                torch.testing.assert_close(pixels, inputs["pixel_values"], rtol=0, atol=1e-6)
            assert pixels.shape == inputs["pixel_values"].shape
            inputs["pixel_values"] = pixels
        tokens = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)[
            0, inputs["input_ids"].shape[1] :
        ]
        assert answer["new_tokens"] == tokens.tolist()
        assert answer["answer"] == processor.decode(tokens, skip_special_tokens=True)


@node
def test_weights_beside_the_graphs_are_found(onnx_folder, model, processor, prompts, tmp_path, monkeypatch):
    monkeypatch.setattr("facemllm_onnx.export.folder.EXTERNAL_DATA_ABOVE", 0)
    folder = tmp_path / "external"
    shutil.copytree(onnx_folder, folder)
    graphs = ("vision_encoder", "embed_tokens", "decoder_model_merged")
    for name in graphs:
        save_graph(onnx_ir.load(onnx_folder / "onnx" / f"{name}.onnx"), folder / "onnx" / f"{name}.onnx")
    write_transformers_js_files(folder, model.config, processor, dict.fromkeys(graphs, True))
    assert ask_on_node(folder, prompts[:2]) == ask_on_node(onnx_folder, prompts[:2])


def test_python_reads_the_folder_as_before(onnx_folder, processor, pictures):
    def inputs(reader: FaceMLLMProcessor) -> dict:
        asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]}]
        return reader.apply_chat_template(
            [*asked, {"role": "assistant", "content": "Ann."}],
            images=pictures[0],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
        )

    before = inputs(processor)
    for name, tensor in inputs(FaceMLLMProcessor.from_pretrained(onnx_folder)).items():
        assert torch.equal(tensor, before[name]), name


def test_marks_of_training_leave_the_template_with_their_blanks():
    marked = "a {%- generation -%} b {% endgeneration %} c{%- endgeneration %} d"
    assert without_generation_marks(marked) == "ab  c d"
