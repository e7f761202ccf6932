"""Read plain YAML data into typed dataclasses, refusing whatever the dataclass does not say.

Every error is one line: the key with its full path, the value, and what would be allowed.
"""

import contextlib
import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from datasets_scripts.shown_text import in_terminal

MAX_VALUES = 100_000
"""Values of a recipe, texts by 100 characters, aliases written out: a few lines of them can stand for billions."""
MAX_BITS = 10_000
"""Of a number: Python does not write one of 4,300 digits, as one in hexadecimal may be."""
MAX_MESSAGE = 1000


class RecipeError(ValueError):
    """A mistake in a recipe: one line that names the key, its value and what is allowed.

    Of a long one the middle is left out: a value can be of any length, and the remedy comes last.
    """

    def __init__(self, message: str):
        line = in_terminal(" ".join(message.splitlines()))
        super().__init__(
            line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE // 2]} … {line[-MAX_MESSAGE // 2 :]}"
        )


class NothingLearned(RecipeError):
    """A run in which nothing could be learned from: no conversation, no picture was usable."""

    exit_code = 1


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-3` as a number (YAML 1.1 reads a string) and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, typing.Hashable) or key in seen:
                line = key_node.start_mark.line + 1
                raise RecipeError(f"line {line}: the key {key!r} is given twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|nan))$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str) -> Any:
    """The plain data in `text`; a syntax error becomes a `RecipeError` that starts with `where`."""
    try:
        data = yaml.load(text, Loader=_Loader)
        if _count(data) > MAX_VALUES:
            raise RecipeError(f"more than {MAX_VALUES:,} values with its aliases written out; keep those of a recipe")
        return data
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(f"{where}{place}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise RecipeError(f"{where}: nested too deeply, or an alias within itself; no recipe is") from None
    except (
        ValueError,
        OverflowError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:  # dates and numbers that are none
        raise RecipeError(f"{where}: not valid YAML: {error}; write it as text, in quotes") from None


def _count(data: Any, known: dict[int, int] | None = None) -> int:
    """How many values there are, each alias written out; what an alias stands for is counted once."""
    known = {} if known is None else known
    if isinstance(data, str | bytes):
        return 1 + len(data) // 100
    if not isinstance(data, dict | list | tuple | set):
        if isinstance(data, int) and data.bit_length() > MAX_BITS:
            raise ValueError(f"a number of {data.bit_length():,} bits")
        return 1
    if id(data) not in known:
        parts = [*data, *data.values()] if isinstance(data, dict) else data
        known[id(data)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(data)]


def read_yaml(path: str | Path) -> dict:
    """The mapping in the YAML file at `path`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: is no text in UTF-8; give the YAML file of a recipe") from None
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, this is {describe(type(data))}")
    return data


def apply_overrides(data: dict, overrides: Iterable[str]) -> dict:
    """`data` with each `key.sub.0.key=value` set; the value is read as YAML, numbers in the key index lists."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise RecipeError(f"override {override!r} is not of the form key=value, e.g. trainer.learning_rate=1e-4")
        *parents, last = key.split(".")
        node = data
        for depth, part in enumerate(parents):
            child = node[_index(node, part, key)] if not isinstance(node, dict) else node.get(part)
            if child is None and isinstance(node, dict):
                child = node[part] = {}
            if not isinstance(child, dict | list):
                raise RecipeError(
                    f"override {key}: {'.'.join(parents[: depth + 1])} is {describe(type(child))}, it has no keys"
                )
            node = child
        node[_index(node, last, key)] = parse_yaml(text, f"override {key}")
    return data


def _index(node: dict | list, part: str, key: str) -> str | int:
    if isinstance(node, dict):
        return part
    if not (part.isdecimal() and len(part) < 10) or int(part) >= len(node):
        raise RecipeError(
            f"override {key}: {part!r} is not a position in a list of {len(node)} (0 to {len(node) - 1})"
        )
    return int(part)


def build(cls: type, data: Any, where: str = "") -> Any:
    """An instance of the dataclass `cls` from the mapping `data`; `where` is the path of keys that led here."""
    hints = typing.get_type_hints(cls)
    if not isinstance(data, dict):
        raise RecipeError(f"{where or 'the recipe'} is {describe(type(data))}, not {describe(cls)}")
    values, prefix = {}, f"{where}." if where else ""
    for key, value in data.items():
        path = f"{prefix}{key}"
        if key not in hints:
            raise RecipeError(unknown_key(path, key, value, hints))
        values[key] = convert(hints[key], value, path)
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise RecipeError(f"{prefix}{field.name} is missing; it is {describe(hints[field.name])}")
    return cls(**values)


def unknown_key(path: str, key: Any, value: Any, allowed: Iterable[str]) -> str:
    """The message for a key that does not exist: the nearest names if there are any, else all of them."""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(key), allowed, n=3, cutoff=0.6)
    advice = f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(allowed)}"
    return f"{path}: {value!r} is set, but there is no such key; {advice}"


def convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`: dataclasses are built, lists walked, an int serves as a float, nothing else."""
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        options = [option for option in arguments if option is not types.NoneType]
        if len(options) == 1:
            return convert(options[0], value, where)
        for option in options:
            with contextlib.suppress(RecipeError):
                return convert(option, value, where)
    elif origin is typing.Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
    elif origin is list and isinstance(value, list):
        return [convert(arguments[0], item, f"{where}.{position}") for position, item in enumerate(value)]
    elif origin is dict and isinstance(value, dict):
        return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    raise RecipeError(f"{where}: {value!r} is {describe(type(value))}, allowed: {describe(hint)}")


def describe(hint: Any) -> str:
    """A type in words, for error messages."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(describe, arguments))
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin is list:
        return f"a list of {describe(arguments[0])}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping with {', '.join(typing.get_type_hints(hint))}"
    return _WORDS.get(origin or hint, getattr(hint, "__name__", str(hint)))


_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true/false",
    str: "text",
    list: "a list",
    dict: "a mapping",
    types.NoneType: "nothing (null)",
}
