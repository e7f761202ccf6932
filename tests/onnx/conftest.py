"""One tiny trained-like model and its exports, made once for all of pytest's processes."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from facemllm.cli import main
from facemllm_onnx.export import export_model
from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor
from tests.tiny import save_model


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id) -> Callable[[str, Callable[[Path], None]], Path]:
    """`made_once(name, make)`: the folder that `make` wrote, in whichever process asked first."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder, made = shared / f"onnx-{name}", shared / f"onnx-{name}.made"
        with FileLock(shared / f"onnx-{name}.lock"):
            if not made.is_file():
                make(folder)
                made.write_text(json.dumps(name))
        return folder

    return once


@pytest.fixture(scope="session")
def model_folder(made_once) -> Path:
    """A Face-MLLM as training leaves it: 32-pixel images of four tokens, one token per byte, two layers of 32."""
    return made_once("model", save_model)


@pytest.fixture(scope="session")
def model(model_folder) -> FaceMLLMForConditionalGeneration:
    """The PyTorch model of all exports here."""
    return FaceMLLMForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def processor(model_folder) -> FaceMLLMProcessor:
    return FaceMLLMProcessor.from_pretrained(model_folder)


@pytest.fixture(scope="session")
def onnx_folder(made_once, model_folder) -> Path:
    """What `facemllm export` writes by default: fused, for one row."""

    def make(out: Path) -> None:
        # A test that asks for this first reads what is printed as its own command's.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as log:
            assert main(["export", str(model_folder), str(out), "--json"]) == 0
        out.with_name(f"{out.name}.steps").write_text(log.getvalue())

    return made_once("one", make)


@pytest.fixture(scope="session")
def fused_folder(onnx_folder) -> Path:
    """`onnx_folder` from the exporter that fuses; where a fusion is lost there, its tests fail."""
    if json.loads((onnx_folder / "export.json").read_text())["backend"] == "optimum":
        pytest.skip("Optimum's exporter fuses nothing: transformers' does, from version 5")
    return onnx_folder


@pytest.fixture(scope="session")
def onnx_batch_folder(made_once, model_folder) -> Path:
    """The export whose decoder takes several rows."""
    return made_once("any", lambda out: export_model(model_folder, out, batch=True))


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Three small pictures that a model distinguishes, of sizes that are not its own."""
    colours = np.random.default_rng(0)
    sizes = ((40, 48), (64, 30), (32, 32))
    return [Image.fromarray(colours.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]
