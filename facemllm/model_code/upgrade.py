"""`facemllm upgrade`: today's code beside old weights, in a folder's own place or in a copy of it.

In place, all new files are staged in the folder and looked at before the first of them is moved. A kill before that
leaves the old folder; a kill between two moves leaves one that the same command finishes.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets_scripts.files import alone, replacing_folder, scratch_folder
from facemllm.cli import UserError
from facemllm.inference.hub_names import ADAPTER, check_model_name
from facemllm_onnx.export_location import EXPORT_RECORD, why_not_downloaded
from facemllm_recipes.model_folder import check_settings, stored_shapes

from .comparison import CODE, CONFIG, code_age, code_of_others, planned_changes, read_settings, tested_range

STAGING = ".facemllm-upgrade"
READ_WITHOUT_WEIGHTS = (".json", ".jinja", ".model", ".py", ".tiktoken", ".txt")
CHECK = Path(__file__).with_name("own_code_check.py")


def upgrade_model(model: str | Path, out: str | Path | None = None, revision: str | None = None) -> dict[str, Any]:
    """Put the installed package's code beside the weights of `model`, and return what was changed.

    Args:
        model: the folder of a model, or a Hub id.
        out: the folder for an upgraded copy; a Hub id needs one. The weights are copied as they are.
        revision: branch, tag or commit of a Hub id.

    Returns:
        `model`, `folder` (where the upgraded model is; None for one that needed nothing), `added`, `replaced`,
        `removed` (files), `transformers_tested`, `checked` (the release that the folder was loaded on with its
        own code; None where it was not), `not_run` (classes of others, because of which it was not), `base_model`
        (of an adapter), `publish` (the command).

    Raises:
        UserError: for no Face-MLLM, newer code, a place that cannot be written, and a folder that would not load.
        DamagedModel: for a folder with a damaged file, or with weights as a pickle.
    """
    out = None if out is None else Path(out).expanduser()
    if out is not None and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"--out {out}: exists and is not empty; give a new folder")
    folder = _source(model, out, revision)
    if out is not None and out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--out {out}: lies in {folder}; give a folder beside it")
    base_model = _check_kind(model, folder)
    carries_code = base_model is None or any(folder.glob(CODE))
    if out is None and carries_code:
        _check_writable(folder)
    check_settings(folder)
    if base_model is None and folder == Path(model).expanduser():
        stored_shapes(folder)
    changes = planned_changes(folder) if carries_code else {}
    report = {"model": str(model), "folder": None, **_changed_files(folder, changes), "base_model": base_model}
    report |= {"transformers_tested": tested_range() if carries_code else None}
    report |= {"checked": None, "not_run": [], "publish": None}
    if not changes:
        return report
    _check_not_newer(model, folder)
    if out is None:
        return report | _result(model, folder, _upgrade_in_place(folder, changes))
    return report | _result(model, out, _upgrade_copy(_whole(model, folder), out, changes))


def _source(model: str | Path, out: Path | None, revision: str | None) -> Path:
    """The folder itself, or, of a Hub id, the files that show what would change."""
    check_model_name(model)
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"--revision {revision}: {model} is a folder; a revision goes with a Hub id")
        return folder
    if out is None:
        raise UserError(f"{model}: is a Hub id, which is not changed: say with --out NEW where its copy goes")
    return _snapshot(str(model), revision, ["*.json", "*.py"])


def _snapshot(repo_id: str, revision: str | None, patterns: list[str] | None = None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        raise UserError(f"{repo_id}: {why_not_downloaded(error, revision)}") from error


def _whole(model: str | Path, folder: Path) -> Path:
    """The folder with its weights: of a Hub id they are fetched only now, of the commit that was looked at."""
    if Path(model).expanduser().is_dir():
        return folder
    whole = _snapshot(str(model), folder.name)
    if not _has_weights(whole):
        raise UserError(f"{model}: no weights are there (*.safetensors): with HF_HUB_OFFLINE set, unset it")
    return whole


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _check_kind(model: str | Path, folder: Path) -> str | None:
    """What an adapter belongs to; None for a whole model. Raises `UserError` for whatever cannot be upgraded."""
    if (folder / EXPORT_RECORD).is_file():
        raise UserError(f"{model}: is an ONNX export, which carries no code of a model: nothing in it has to change")
    if (folder / CONFIG).is_file():
        config = read_settings(folder / CONFIG)
        if config.get("model_type") != "facemllm":
            raise UserError(
                f"{model}: is a {config.get('model_type')!r} and no Face-MLLM (model_type 'facemllm' in config.json); "
                "give the folder that training or quickstart left"
            )
        return None
    if (folder / ADAPTER).is_file():
        return str(read_settings(folder / ADAPTER).get("base_model_name_or_path") or "not named")
    raise UserError(f"{model}: has no config.json, so it is no model; give the one that training left")


def _check_not_newer(model: str | Path, folder: Path) -> None:
    config = read_settings(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if code_age(config) == "newer":
        raise UserError(
            f"{model}: its code is newer than this package's (transformers_tested {config['transformers_tested']}, "
            f"here {tested_range()}): install a newer facemllm"
        )


def _check_writable(folder: Path) -> None:
    linked = [path for path in sorted(folder.iterdir()) if path.is_symlink()]
    for path in (folder, *linked):
        if any(part.startswith("models--") for part in path.resolve().parts):
            raise UserError(
                f"{folder}: {'is' if path == folder else f'{path.name} leads'} in the Hub's cache, which belongs to "
                "other programs too: say with --out NEW where an upgraded copy goes"
            )
    as_whom = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
    if not os.access(folder, os.W_OK | os.X_OK, **as_whom):
        raise UserError(f"{folder}: cannot be written; say with --out NEW where an upgraded copy goes")


def _changed_files(folder: Path, changes: dict[str, bytes | None]) -> dict[str, list[str]]:
    present = {path for path in changes if (folder / path).is_file()}
    return {
        "added": [path for path in changes if path not in present],
        "replaced": [path for path, content in changes.items() if path in present and content is not None],
        "removed": [path for path, content in changes.items() if content is None],
    }


def _result(model: str | Path, folder: Path, not_run: list[str]) -> dict[str, Any]:
    from importlib.metadata import version

    repository = "ORG/NAME" if Path(model).expanduser().is_dir() else str(model)
    return {
        "folder": str(folder),
        "checked": None if not_run else version("transformers"),
        "not_run": not_run,
        "publish": f"facemllm publish model {shlex.quote(str(folder))} {repository}",
    }


def _upgrade_in_place(folder: Path, changes: dict[str, bytes | None]) -> list[str]:
    with _writing(str(folder)), alone(folder), scratch_folder(folder / STAGING) as staged:
        for path in folder.iterdir():
            if path.is_file() and path.suffix in READ_WITHOUT_WEIGHTS:
                shutil.copyfile(path, staged / path.name)
        if (templates := folder / "additional_chat_templates").is_dir():
            shutil.copytree(templates, staged / templates.name)
        _write(changes, staged)
        not_run = _check_loads(folder, staged)
        for path, content in changes.items():
            if content is None:
                (folder / path).unlink(missing_ok=True)
            else:
                os.replace(staged / path, folder / path)
    return not_run


def _upgrade_copy(folder: Path, out: Path, changes: dict[str, bytes | None]) -> list[str]:
    with _writing(f"--out {out}"), alone(out, beside=True), replacing_folder(out.resolve()) as staged:
        shutil.copytree(folder, staged, ignore=_not_the_models, dirs_exist_ok=True)
        _write(changes, staged)
        not_run = _check_loads(folder, staged)
        if out.is_dir() and any(out.iterdir()):
            raise UserError(f"--out {out}: something else was written there meanwhile; give a new folder")
        return not_run


@contextmanager
def _writing(argument: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "make room or give another --out NEW"
        raise UserError(f"{argument}: cannot be written ({error.strerror or error}); {remedy}") from error


def _not_the_models(folder: str, names: list[str]) -> list[str]:
    """Compiled code, and the folders in which git, the Hub's client and this command keep what is theirs."""
    return [
        name
        for name in names
        if name == "__pycache__" or (name.startswith(".") and os.path.isdir(os.path.join(folder, name)))
    ]


def _write(changes: dict[str, bytes | None], folder: Path) -> None:
    for path, content in changes.items():
        if content is None:
            (folder / path).unlink(missing_ok=True)
        else:
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(content)


def _check_loads(folder: Path, staged: Path) -> list[str]:
    """Load what is staged in a second process, on its own code; classes of others, because of which it was not."""
    if others := code_of_others(staged):
        return others
    with TemporaryDirectory() as modules:
        environment = os.environ | {"HF_MODULES_CACHE": modules, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-P", str(CHECK), str(staged)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        reason = next(reversed(ran.stderr.strip().splitlines()), f"exit code {ran.returncode}")
        raise UserError(f"{folder}: would not load with today's code, so nothing was changed: {reason}")
    return []
