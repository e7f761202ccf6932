"""The walls of the house: which room may import which, read from the imports themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"datasets_scripts": "datasets_scripts", "facemllm": "facemllm", "modeling_facemllm": "modeling_facemllm"}
ROOMS |= {"onnx": "facemllm_onnx", "recipes": "facemllm_recipes"}
BELOW = {
    "modeling_facemllm": set(),
    "datasets_scripts": {"modeling_facemllm"},
    "facemllm_recipes": {"datasets_scripts", "modeling_facemllm"},
    "facemllm_onnx": {"modeling_facemllm"},
    "facemllm": {"datasets_scripts", "facemllm_onnx", "facemllm_recipes", "modeling_facemllm"},
}
"""What each room may import of the others."""


def module_name(path: Path) -> str:
    """`facemllm_onnx.export.native` for `onnx/export/native.py`."""
    room, *rest = path.with_suffix("").parts
    return ".".join([ROOMS[room], *(part for part in rest if part != "__init__")])


def read_modules(root: Path) -> dict[str, Path]:
    """Every module of the rooms below `root`, with its file relative to it."""
    files = (path.relative_to(root) for room in ROOMS for path in (root / room).rglob("*.py"))
    return {module_name(path): path for path in sorted(files)}


def imported_names(path: Path, module: str) -> set[str]:
    """What a file imports, wherever in it: modules, and the names taken from them, dotted in full."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def read_imports(root: Path) -> dict[str, set[str]]:
    """Of every module, the modules of the rooms that it imports."""
    modules = read_modules(root)

    def of(name: str) -> str | None:
        while name not in modules and "." in name:
            name = name.rpartition(".")[0]
        return name if name in modules else None

    return {
        module: {target for name in imported_names(root / path, module) if (target := of(name)) not in (None, module)}
        for module, path in modules.items()
    }


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Every group of modules that import each other, by Tarjan's algorithm."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for target in sorted(imports[module]):
            if target not in number:
                visit(target)
            if target in stack:
                lowest[module] = min(lowest[module], lowest[target])
        if lowest[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for module in sorted(imports):
        if module not in number:
            visit(module)
    return groups


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    return read_imports(ROOT)


def broken(imports: dict[str, set[str]], importer: str, forbidden: tuple[str, ...]) -> list[str]:
    """`a imports b` for every import from below `importer` of something below one of `forbidden`."""
    inside = f"{importer}."
    return [
        f"{module} imports {target}"
        for module, targets in imports.items()
        if f"{module}.".startswith(inside)
        for target in sorted(targets)
        if f"{target}.".startswith(tuple(f"{name}." for name in forbidden))
    ]


def test_no_files_import_each_other_in_a_circle(imports):
    assert circles(imports) == []


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_what_lies_below_it(imports, room):
    above = tuple(BELOW.keys() - BELOW[room] - {room})
    assert broken(imports, room, above) == []
