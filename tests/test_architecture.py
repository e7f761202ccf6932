"""The walls of the house: which room may import which, read from the imports themselves."""

import ast
from collections.abc import Iterable
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
ABOVE_INFERENCE = ("facemllm.analysis", "facemllm.evaluation", "facemllm.publishing", "facemllm.quickstart")
INNER_WALLS = [
    ("facemllm.inference", [*ABOVE_INFERENCE, "facemllm.commands"]),
    *((room, ["facemllm.commands"]) for room in ABOVE_INFERENCE),
    ("facemllm_onnx.runtime", ["facemllm_onnx.export"]),
]
ENTRIES = {"datasets_scripts": 14, "onnx": 14, "facemllm": 16, "facemllm/evaluation": 20}
"""How many files and folders may lie at the top of a room."""
CORPORA_KNOW = {
    "errors_facemllm",
    "face_detection_facemllm",
    "face_task_table_facemllm",
    "image_loading_facemllm",
    "installation",
}
"""Files of the model that the corpora may import: what both rooms say in one way is said once."""


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


def broken(imports: dict[str, set[str]], importer: str, forbidden: Iterable[str]) -> list[str]:
    """`a imports b` for every import from below `importer` of something below one of `forbidden`."""
    walls = tuple(f"{name}." for name in forbidden)
    return [
        f"{module} imports {target}"
        for module, targets in imports.items()
        if f"{module}.".startswith(f"{importer}.")
        for target in sorted(targets)
        if f"{target}.".startswith(walls)
    ]


def test_no_files_import_each_other_in_a_circle(imports):
    assert circles(imports) == []


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_what_lies_below_it(imports, room):
    assert broken(imports, room, BELOW.keys() - BELOW[room] - {room}) == []


@pytest.mark.parametrize(("room", "forbidden"), INNER_WALLS)
def test_a_room_inside_does_not_import_what_lies_above_it(imports, room, forbidden):
    assert broken(imports, room, forbidden) == []


def test_the_corpora_know_of_the_model_only_its_detector_its_picture_door_and_its_table(imports):
    known = {f"modeling_facemllm.{name}" for name in CORPORA_KNOW}
    corpora = [targets for module, targets in imports.items() if module.startswith("datasets_scripts")]
    assert {name for name in set().union(*corpora) if name.startswith("modeling_facemllm")} <= known


def test_no_file_of_the_onnx_runtime_imports_torch_or_transformers():
    files = [
        (path, module_name(path)) for path in read_modules(ROOT).values() if path.parts[:2] == ("onnx", "runtime")
    ]
    heavy = {
        f"{path} imports {name}"
        for path, module in files
        for name in imported_names(ROOT / path, module)
        if name.partition(".")[0] in ("torch", "transformers")
    }
    assert files and heavy == set()


@pytest.mark.parametrize(
    ("line", "wall"),
    [
        ("from facemllm.evaluation import predict", "facemllm.evaluation"),
        ("from ..evaluation.predict import run_into", "facemllm.evaluation"),
        ("def late():\n    import facemllm.evaluation.predict", "facemllm.evaluation"),
    ],
)
def test_a_broken_wall_is_seen_wherever_the_import_stands(tmp_path, line, wall):
    for path, text in {"inference/loading.py": line, "evaluation/predict.py": ""}.items():
        (tmp_path / "facemllm" / path).parent.mkdir(parents=True)
        (tmp_path / "facemllm" / path).write_text(text)
    found = broken(read_imports(tmp_path), "facemllm.inference", [wall])
    assert found == ["facemllm.inference.loading imports facemllm.evaluation.predict"]


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]


@pytest.mark.parametrize(("room", "most"), ENTRIES.items())
def test_a_room_has_few_doors(room, most):
    entries = [path.name for path in (ROOT / room).iterdir() if not path.name.startswith(("__pycache__", "."))]
    assert 0 < len(entries) <= most, sorted(entries)
