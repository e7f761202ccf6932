"""Which command installs what is missing here, as the metadata of the installed project has it.

Part of the package only: what ships to the Hub names its packages itself. The command is the same from a clone and
from a wheel, and needs no package index to know this project.
"""

import re
from importlib import metadata
from pathlib import Path

PROJECT = "facemllm"


def install_command(extra: str | None = None, package: str | None = None) -> str:
    """`pip install "onnxruntime>=1.28" "onnxscript>=0.7"`: the packages of `extra`, or those that the project needs.

    Those that are installed are left out, unless all of them are. With `package` only that one of them is named, also
    where it is installed and does not work. Where the project itself is not installed, the command installs it from
    the folder that this file lies in, with the extra.
    """
    try:
        requirements = _requirements(extra)
    except metadata.PackageNotFoundError:
        return f'pip install -e "{Path(__file__).resolve().parents[1]}{f"[{extra}]" if extra else ""}"'
    if package is not None:
        requirements = [requirement for requirement in requirements if _name(requirement) == package]
    missing = [requirement for requirement in requirements if not is_installed(requirement)]
    return " ".join(["pip install", *(f'"{requirement}"' for requirement in missing or requirements)])


def _requirements(extra: str | None) -> list[str]:
    """The requirements of one extra (None: those without one), with what it takes over from other extras."""
    found = []
    for line in metadata.requires(PROJECT) or []:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        named = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", marker)
        if (named[1] if named else None) != extra:
            continue
        inherited = re.fullmatch(rf"{PROJECT}\[([\w,\s-]+)\]", requirement)
        if inherited:
            found += [line for name in inherited[1].split(",") for line in _requirements(name.strip())]
        else:
            found.append(requirement)
    return found


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0]


def is_installed(requirement: str) -> bool:
    """Whether there is the package that a requirement names, of whatever version."""
    try:
        metadata.version(_name(requirement))
    except metadata.PackageNotFoundError:
        return False
    return True
