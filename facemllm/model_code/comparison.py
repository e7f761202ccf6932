"""The Python code that travels in a model folder: how old it is, and what today's puts in its place."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import modeling_facemllm
from facemllm.cli import UserError
from facemllm_recipes.model_folder import DamagedModel, read_object

CODE = "*_facemllm.py"
CONFIG = "config.json"
PROCESSOR_CONFIG = "processor_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SETTINGS = (PROCESSOR_CONFIG, "preprocessor_config.json", TOKENIZER_CONFIG, CONFIG)
"""Files that name code or releases; `config.json` last, because it says which releases the folder runs on."""
PLACES = ("adapter/", "")
"""Where in a model folder code lies: training keeps the adapters, with their processor, beside the merged model."""


def tested_range() -> str:
    """The releases of transformers that today's code was tested on."""
    from modeling_facemllm.versions_facemllm import TESTED

    return TESTED


def code_age(config: dict[str, Any]) -> str:
    """`older`, `today's` or `newer`: what `transformers_tested` says of the code beside a `config.json`."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import Version

    from modeling_facemllm.versions_facemllm import NEWEST_TESTED

    tested = config.get("transformers_tested")
    if tested == tested_range():
        return "today's"
    try:
        bounds = [Version(part.version) for part in SpecifierSet(str(tested)) if part.operator == "<="]
    except InvalidSpecifier:
        return "older"
    return "newer" if bounds and max(bounds) > Version(NEWEST_TESTED) else "older"


def planned_changes(folder: Path) -> dict[str, bytes | None]:
    """What today's code changes in `folder`, by path and in the order in which it has to be done; None removes.

    A kill between two of the changes leaves a `config.json` that still counts as older.

    Raises:
        UserError: for settings that are no JSON object.
    """
    return {
        place + name: content
        for place in PLACES
        if not place or any((folder / place).glob(CODE))
        for name, content in _changes_in(folder / place)
    }


def describe_code(name: str | Path, config: dict[str, Any]) -> str:
    """One line about the code beside `config` in the folder `name`, with the command that renews older code."""
    return {
        "today's": "today's",
        "older": f"older than this package: facemllm upgrade {shlex.quote(str(name))}",
        "newer": "newer than this package: install a newer facemllm",
    }[code_age(config)]


def code_of_others(folder: Path) -> list[str]:
    """Classes of configuration and processor that the settings of `folder` name, and that are not this project's."""
    named = {
        name
        for file in SETTINGS
        if (folder / file).is_file()
        for name in _named_classes(read_settings(folder / file))
        if not _is_ours(name)
    }
    return sorted(named)


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `UserError` for anything else."""
    try:
        return read_object(path)
    except DamagedModel as error:
        raise UserError(str(error)) from error


def _changes_in(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    """New files before those that import them, and old ones away when nothing imports them any more."""
    today = {path.name: path.read_bytes() for path in sorted(Path(modeling_facemllm.__file__).parent.glob(CODE))}
    present = {path.name: path.read_bytes() for path in sorted(folder.glob(CODE))}
    yield from ((name, content) for name, content in today.items() if name not in present)
    yield from ((name, content) for name, content in today.items() if present.get(name, content) != content)
    yield from ((name, None) for name in present if name not in today)
    for name in SETTINGS:
        if (folder / name).is_file():
            settings = read_settings(folder / name)
            renewed = _renewed(name, settings)
            if renewed != settings:
                yield name, _as_json(renewed, like=settings)


def _renewed(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    if name == CONFIG:
        return _renewed_config(settings)
    settings = _renewed_processor(settings)
    if name == TOKENIZER_CONFIG:
        return _portable(settings)
    if name == PROCESSOR_CONFIG and settings.get("processor_class") == "FaceMLLMProcessor":
        from modeling_facemllm.processing_facemllm import AUTO_MAP

        return {**settings, "auto_map": {**AUTO_MAP, **(settings.get("auto_map") or {})}}
    return settings


def _renewed_config(config: dict[str, Any]) -> dict[str, Any]:
    """Classes of others stay named."""
    from modeling_facemllm.configuration_facemllm import AUTO_MAP, CUSTOM_PIPELINES

    classes, pipelines = config.get("auto_map") or {}, config.get("custom_pipelines") or {}
    return {
        **config,
        "auto_map": _renewed_names(classes, AUTO_MAP),
        "custom_pipelines": _renewed_names(pipelines, CUSTOM_PIPELINES),
        "transformers_tested": tested_range(),
    }


def _renewed_names(named: dict[str, Any], todays: dict[str, Any]) -> dict[str, Any]:
    """`named`, in its order: of what is this project's only what today's code has, with its values."""
    impl = {key: value.get("impl") if isinstance(value, dict) else value for key, value in named.items()}
    others = {key: value for key, value in named.items() if not _is_ours(impl[key])}
    kept = {key: value for key, value in named.items() if key in todays or key in others}
    return {**kept, **todays, **others}


def _renewed_processor(settings: dict[str, Any]) -> dict[str, Any]:
    """The processor's class by its plain name, in the settings of its parts too."""
    from modeling_facemllm.processing_facemllm import AUTO_MAP

    renewed = {
        key: _renewed_processor(value) if isinstance(value, dict) and key != "auto_map" else value
        for key, value in settings.items()
    }
    if _is_ours((settings.get("auto_map") or {}).get("AutoProcessor")):
        renewed["auto_map"] = settings["auto_map"] | AUTO_MAP
    return renewed


def _portable(settings: dict[str, Any]) -> dict[str, Any]:
    from modeling_facemllm.versions_facemllm import make_tokenizer_portable

    with TemporaryDirectory() as folder:
        file = Path(folder, TOKENIZER_CONFIG)
        file.write_text(json.dumps(settings), encoding="utf-8")
        make_tokenizer_portable(folder)
        return read_settings(file)


def _as_json(settings: dict[str, Any], like: dict[str, Any]) -> bytes:
    ordered = dict(sorted(settings.items())) if list(like) == sorted(like) else settings
    return (json.dumps(ordered, indent=2, ensure_ascii=False) + "\n").encode()


def _named_classes(settings: dict[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if key == "auto_map" and isinstance(value, dict):
            for kind, named in value.items():
                if not kind.startswith("AutoModel"):
                    yield from (name for name in (named if isinstance(named, list) else [named]) if name)
        elif isinstance(value, dict):
            yield from _named_classes(value)


def _is_ours(name: Any) -> bool:
    """Whether a class, `module.Class` or `owner/name--module.Class`, is of a module that this project ships."""
    return isinstance(name, str) and name.split("--")[-1].split(".")[0].endswith("_facemllm")
