"""What is installed, and under which names."""

import ast
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
