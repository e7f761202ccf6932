"""What is installed, and under which names."""

import ast
import importlib.machinery
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from modeling_facemllm.installation import install_command
from tests.fresh_environment import plain_variables

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", *patterns]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / file for file in files.splitlines()]


def requirements_of(extra: str | None) -> list[str]:
    """The requirements of an extra as pyproject.toml has them, with those of the extras that it names."""
    lines = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    own = [Requirement(line) for line in lines]
    inherited = [
        line
        for requirement in own
        if requirement.name == "facemllm"
        for extra in requirement.extras
        for line in requirements_of(extra)
    ]
    return inherited + [str(requirement) for requirement in own if requirement.name != "facemllm"]


def is_installed(requirement: str) -> bool:
    installed = {canonicalize_name(found.name) for found in metadata.distributions()}
    return canonicalize_name(Requirement(requirement).name) in installed


def test_no_file_imports_the_folder_recipes_by_its_own_name():
    imported = {
        (file, name.split(".")[0])
        for file in tracked("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert [file for file, name in imported if name == "recipes"] == []


@pytest.mark.parametrize("extra", [None, *PROJECT["optional-dependencies"]])
def test_the_command_that_installs_an_extra_names_what_of_it_is_missing(extra):
    program, verb, *named = shlex.split(install_command(extra))
    wanted = requirements_of(extra)
    missing = [requirement for requirement in wanted if not is_installed(requirement)] or wanted
    assert (program, verb) == ("pip", "install")
    assert {Requirement(requirement) for requirement in named} == {Requirement(requirement) for requirement in missing}


def test_from_a_clone_that_is_not_installed_the_command_installs_the_clone(tmp_path):
    (tmp_path / "modeling_facemllm").symlink_to(ROOT / "modeling_facemllm")
    program = "from modeling_facemllm.installation import install_command; print(install_command('onnx'))"
    command = [sys.executable, "-S", "-c", program]  # without site-packages
    done = subprocess.run(command, cwd=tmp_path, env=plain_variables(), capture_output=True, text=True)
    assert done.stdout == f'pip install -e "{ROOT}[onnx]"\n', done.stderr


def test_the_command_is_found_without_torch():
    program = "import sys, modeling_facemllm.installation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_nothing_says_that_the_project_is_on_a_package_index():
    for file in tracked("*.py", "*.md", "*.yaml", ".ci/*"):
        assert not re.search(r"pip install[^\n]*[ \"']facemllm[\[\s\"'`]", file.read_text(encoding="utf-8")), file


def constraints_script():
    """The command `.ci/constraints`, as a module."""
    loader = importlib.machinery.SourceFileLoader("constraints", str(ROOT / ".ci" / "constraints"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def constraints(file: str, python: str = "3.11") -> dict[str, str]:
    """Name and version of each line of a constraints file that is for this Python."""
    found = {}
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            (specifier,) = requirement.specifier
            assert specifier.operator == "==" and requirement.url is None and not requirement.extras, line
            assert canonicalize_name(requirement.name) not in found, line
            found[canonicalize_name(requirement.name)] = specifier.version
    return found


CONSTRAINTS = [
    (file, extra, python)
    for file, extra in (("constraints.txt", "test"), ("constraints-optimum.txt", "optimum"))
    for python in ("3.11", "3.12", "3.13")
]


@pytest.mark.parametrize(("file", "extra", "python"), CONSTRAINTS)
def test_the_tested_versions_are_among_those_that_pyproject_allows(file, extra, python):
    versions = constraints(file, python)
    for line in [*requirements_of(None), *requirements_of(extra)]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), line


@pytest.mark.parametrize(("file", "extra", "python"), CONSTRAINTS)
def test_the_tested_versions_name_no_machine_and_no_build_of_torch(file, extra, python):
    versions = constraints(file, python)
    assert versions["torch"] == "2.13.0" and not any("+" in version for version in versions.values())
    assert not [name for name in versions if name.startswith(("nvidia-", "cuda-", "triton", "facemllm"))]
    assert "onnxruntime-gpu" not in versions


def test_transformers_is_bounded_by_the_minor_after_the_tested_one():
    tested = Version(constraints("constraints.txt")["transformers"])
    (requirement,) = (one for one in map(Requirement, PROJECT["dependencies"]) if one.name == "transformers")
    assert f"<{tested.major}.{tested.minor + 1}" in map(str, requirement.specifier)
    floor = constraints("constraints-optimum.txt")["transformers"]
    assert f">={floor}" in map(str, requirement.specifier)


def test_the_ci_runs_the_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```bash\n(.+)\n```", readme)[:2]
    make, install, quickstart = first.split(" && ")
    assert quickstart == ".venv/bin/facemllm quickstart"  # a test of the suite runs it and looks at what it leaves
    ran = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {make, install, second} <= set(ran)


def test_the_ci_installs_what_the_constraints_were_resolved_for():
    script = constraints_script()
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    ran = [shlex.split(line) for line in lines if "pip install -c " in line]
    installed = {words[words.index("-c") + 1]: {*words[words.index("-c") + 2 :]} - {"-e"} for words in ran}
    assert installed == {file: {*wanted} - {script.TORCH} for file, wanted in script.ENVIRONMENTS.items()}


def test_where_pythons_need_other_versions_the_constraints_have_markers():
    resolved = {
        (3, 11): {"same": "1", "older": "1", "gone": "1", "between": "1"},
        (3, 12): {"same": "1", "older": "2", "between": "2"},
        (3, 13): {"same": "1", "older": "2", "between": "3", "new": "1"},
    }
    assert constraints_script().lines(resolved) == [
        'between==1 ; python_version < "3.12"',
        'between==2 ; python_version >= "3.12" and python_version < "3.13"',
        'between==3 ; python_version >= "3.13"',
        "gone==1",
        "new==1",
        'older==1 ; python_version < "3.12"',
        'older==2 ; python_version >= "3.12"',
        "same==1",
    ]
