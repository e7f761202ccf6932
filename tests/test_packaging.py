"""What is installed, and under which names."""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_no_file_imports_the_folder_recipes_by_its_own_name():
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    imported = {
        (file, name.split(".")[0])
        for file in files.split()
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert [file for file, name in imported if name == "recipes"] == []
