"""A Python environment in which this project is not installed, and everything that it needs is."""

import os
import subprocess
import sys
import venv
from pathlib import Path


def fresh_environment(folder: Path) -> Path:
    """Make the environment in `folder`, which sees the packages of the running one; returns its Python.

    A folder named in a `.pth` file is searched, but its own `.pth` files are not read: an editable install of the
    project does not show through. One that is no editable install would; what is installed here comes before it.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = subprocess.run([python, "-c", purelib], capture_output=True, text=True, check=True).stdout.strip()
    seen = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (Path(site_packages) / "seen.pth").write_text("\n".join(seen) + "\n")
    return python


def plain_variables() -> dict[str, str]:
    """The environment variables of this process without those that would make other modules importable."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
