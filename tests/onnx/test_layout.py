"""The folder `onnx/` must never hide the ONNX package."""

import subprocess
import sys
from pathlib import Path

from facemllm_onnx.export.graphs import graphs

ROOT = Path(__file__).parents[2]


def test_import_onnx_from_the_repository_root_finds_the_onnx_package():
    code = "import onnx, facemllm_onnx.export.graphs; print(onnx.__version__)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_every_layer_has_a_key_and_a_value_in_and_out():
    decoder = graphs(num_hidden_layers=3)[-1]
    past = [name.removeprefix("past_key_values.") for name in decoder.inputs if name.startswith("past")]
    present = [name.removeprefix("present.") for name in decoder.outputs if name.startswith("present")]
    assert past == present and len(past) == 6
