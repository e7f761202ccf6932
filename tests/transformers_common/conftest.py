"""transformers' own tests, from the PyPI source distribution of the installed version, with our files beside them.

`FACEMLLM_TRANSFORMERS_SDIST` may name a source distribution, or a source tree of transformers, to use instead.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import transformers

OUT_OF_TREE = Path(__file__).with_name("out_of_tree")
collect_ignore = ["out_of_tree"]


def source_distribution(cache: Path) -> Path:
    """The source distribution of the installed transformers, downloaded once into `cache`."""
    name = f"transformers-{transformers.__version__}.tar.gz"
    if not (cache / name).exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-binary",
            ":all:",
            "--no-deps",
            "--no-build-isolation",
        ]
        command += ["--dest", str(cache), f"transformers=={transformers.__version__}"]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            pytest.skip(
                f"no source distribution of transformers {transformers.__version__}: {ran.stderr.strip()[-300:]}"
            )
    return cache / name


@pytest.fixture(scope="session")
def transformers_tests(tmp_path_factory) -> Path:
    """A folder whose `tests/` are those of transformers, completed by ours and by stubs for what they lack."""
    named = os.environ.get("FACEMLLM_TRANSFORMERS_SDIST")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "facemllm"
    source = Path(named) if named else source_distribution(cache)
    workspace = tmp_path_factory.mktemp("transformers")
    if source.is_dir():
        shutil.copytree(source / "tests", workspace / "tests")
    else:
        with tarfile.open(source) as archive:
            members = [member for member in archive.getmembers() if "tests" in Path(member.name).parts[1:2]]
            archive.extractall(workspace / "unpacked", members=members, filter="data")
        next((workspace / "unpacked").iterdir()).joinpath("tests").rename(workspace / "tests")
    for ours in OUT_OF_TREE.rglob("*.py"):
        target = workspace / ours.relative_to(OUT_OF_TREE)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(ours, target)
    for folder in [workspace / "tests", *(workspace / "tests").rglob("*/")]:
        (folder / "__init__.py").touch()
    return workspace
