"""What a precision costs, as `python -m facemllm.evaluation.export_quality` measures it and writes it down."""

import json
import re
import shutil
from pathlib import Path

import pytest

from facemllm.evaluation.export_quality import compare, main
from facemllm.evaluation.predictions import Prediction
from facemllm_onnx.export.quantize import quantize_graphs


@pytest.fixture
def exports(onnx_folder, tmp_path) -> tuple[Path, Path]:
    """An fp32 export and the int4 one of the same model."""
    fp32, int4 = (shutil.copytree(onnx_folder, tmp_path / name) for name in ("fp32", "int4"))
    quantize_graphs(int4 / "onnx", "int4")
    state(int4, precision="int4")
    return fp32, int4


def test_loss_is_the_mean_over_tasks_and_the_worst_task_is_named():
    reference = answers(gender=["a", "a", "a", "a"], age=["x", "x", "x", "x"])
    other = answers(gender=["a", "a", "a", "b"], age=["x", "x", "b", "b"])
    figures = compare(reference, other)
    assert figures["accuracy"] == 62.5
    assert figures["loss"] == 37.5
    assert (figures["worst_task"], figures["worst_loss"]) == ("age", 50)
    assert figures["agreement"] == 62.5
    assert figures["tasks"]["gender"] == {"accuracy": 75, "loss": 25, "n": 4}


def test_agreement_is_of_the_written_text_not_of_what_is_read_in_it():
    reference, other = (
        [Prediction("0", "age", "generation", expected="x", predicted="x", text=text)] for text in ("x", "x.")
    )
    figures = compare(reference, other)
    assert (figures["loss"], figures["agreement"]) == (0, 0)


def test_it_is_printed_and_written_into_each_record(exports, tmp_path, capsys):
    fp32, int4 = exports
    asked = ["--benchmark", "synthetic", "--tasks", "glasses", "--limit", "2", "--out", str(tmp_path / "answers")]
    assert main([str(fp32), str(int4), *asked]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].startswith("fp32") and table[2].startswith("int4")
    quality = json.loads((int4 / "export.json").read_text())["quality"]["synthetic"]
    assert quality["faces"] == 2
    assert set(quality["ways"]) == {"scoring"}
    assert quality["marked"] == (quality["ways"]["scoring"]["loss"] > 1)
    assert quality["peak_mb"] > quality["bare_mb"] > 0
    assert quality["size_mb"] > 0 and quality["load_seconds"] > 0
    own = json.loads((fp32 / "export.json").read_text())["quality"]["synthetic"]["ways"]["scoring"]
    assert (own["loss"], own["agreement"]) == (0, 100)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda fp32, int4: (int4, fp32), r"int4\b.*give the fp32 one first"),
        (lambda fp32, int4: (fp32, fp32.parent), r"export\.json\b.*give a folder that facemllm export wrote"),
        (
            lambda fp32, int4: (fp32, state(int4, source={"digest": "another"})),
            r"another model\b.*export both from one",
        ),
    ],
)
def test_a_mistake_is_one_line(mistake, message, exports, capsys):
    folders = mistake(*exports)
    assert main([*map(str, folders), "--benchmark", "synthetic", "--limit", "2"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and re.search(message, lines[0])


def state(folder: Path, **changes) -> Path:
    """Let an export's record say something else."""
    record = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps(record | changes))
    return folder


def answers(**given: list[str]) -> list[Prediction]:
    """Scored answers to each task, of which `a` and `x` are right."""
    return [
        Prediction(str(number), task, "scoring", expected="a" if task == "gender" else "x", predicted=answer)
        for task, answers in given.items()
        for number, answer in enumerate(answers)
    ]
