"""Out of a clone: the wheel, installed in an environment of its own, does its work in an empty folder."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.facemllm.quickstart.small_quickstart import STAGES, write_small_recipes
from tests.fresh_environment import fresh_environment, plain_variables

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {  # folder and import name
    "modeling_facemllm": "modeling_facemllm",
    "datasets_scripts": "datasets_scripts",
    "recipes": "facemllm_recipes",
    "onnx": "facemllm_onnx",
    "facemllm": "facemllm",
}

pytestmark = pytest.mark.slow


def files_of_the_clone() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [file for file in listed if (ROOT / file).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing of an earlier build gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    for file in files_of_the_clone():
        (folder / "clone" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, folder / "clone" / file)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder / "dist", folder / "clone"], check=True)
    shutil.rmtree(folder / "clone")
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder with the programs of an environment that has the wheel."""
    python = fresh_environment(tmp_path_factory.mktemp("environment"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", python]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
    return python.parent


@pytest.fixture
def run(installed, tmp_path):
    """Runs a program of the environment in an empty folder."""

    def run(program: str, *words: object, folder: Path = tmp_path) -> subprocess.CompletedProcess:
        command = [installed / program, *map(str, words)]
        return subprocess.run(command, cwd=folder, env=plain_variables(), capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture(scope="module")
def quickstart(installed, tmp_path_factory) -> Path:
    """The folder in which a small quickstart ran, on the towers of the wheel."""
    folder = tmp_path_factory.mktemp("quickstart")
    recipes = write_small_recipes(tmp_path_factory.mktemp("recipes"))
    program = (
        "import sys; from pathlib import Path; from facemllm.quickstart.run import Plan, Quickstart\n"
        "Quickstart(Path('quickstart'), 0, Plan(recipes=Path(sys.argv[1]), held_out_faces=8)).run()"
    )
    command = [installed / "python", "-c", program, recipes]
    done = subprocess.run(command, cwd=folder, env=plain_variables(), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_file_of_the_rooms_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    for file in files_of_the_clone():
        room, _, rest = file.partition("/")
        if room in ROOMS and not rest.startswith("optimum_cli/"):  # which goes where Optimum looks for it
            assert f"{ROOMS[room]}/{rest}" in packed, file
    assert "optimum/commands/register/register_facemllm.py" in packed


def test_every_room_is_imported_from_the_wheel(run, installed):
    program = f"import importlib; print([importlib.import_module(name).__path__[0] for name in {[*ROOMS.values()]}])"
    done = run("python", "-c", program)
    assert done.stdout.count(str(installed.parent / "lib")) == len(ROOMS), done.stdout + done.stderr


def test_the_quickstart_leaves_a_model_that_answers(quickstart, run):
    report = json.loads((quickstart / "quickstart" / "report.json").read_text())
    assert list(report["per_stage"]) == list(STAGES)
    question = ("quickstart/model", "quickstart/faces/face-00.png", "What hat does the person wear?")
    asked = run("facemllm", "ask", *question, "--device", "cpu", folder=quickstart)
    assert asked.returncode == 0 and asked.stdout.strip(), asked.stderr


def test_the_packaged_recipes_are_listed(run):
    listed = run("facemllm", "train", "--list")
    assert listed.returncode == 0 and {"fairface/stage1_alignment", "facellm/8b"} <= {*listed.stdout.split()}


def test_a_packaged_recipe_names_what_must_be_made_first(run):
    checked = run("facemllm", "train", "fairface/stage1_alignment", "--check")
    assert checked.returncode == 2 and checked.stderr.count("\n") == 1
    assert "'corpora/fairface'" in checked.stderr and "facemllm data fairface FAIRFACE --out" in checked.stderr


def test_packaged_towers_train_by_name(quickstart, run):
    changes = ["data.0.path=quickstart/corpus", "data.0.max_rows=8", "trainer.max_steps=1", "trainer.use_cpu=true"]
    trained = run("facemllm", "train", "quickstart/stage1_alignment", *changes, "--json", folder=quickstart)
    assert trained.returncode == 0, trained.stderr[-3000:]
    facts = json.loads(trained.stdout)
    assert (facts["steps"], facts["recipe"]["model"]["vision"]) == (1, "packaged:vision")


def test_a_missing_package_is_told_in_words_that_work(run):
    program = "from modeling_facemllm.installation import install_command; print(install_command('onnx-gpu'))"
    assert run("python", "-c", program).stdout.startswith('pip install "onnxruntime-gpu>=')
