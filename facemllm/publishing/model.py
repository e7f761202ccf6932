"""A model folder to the Hub in one commit: what was there before can be loaded until all of the new one is there."""

import json
import os
import re
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from datasets_scripts.corpus.writing import CARD
from facemllm.cli import UserError
from facemllm.inference.hub_names import could_be_hub_id
from facemllm.model_code.comparison import CONFIG, code_age, describe_code, read_settings
from facemllm_onnx.export_location import EXPORT_RECORD
from modeling_facemllm.errors_facemllm import ArgumentError

from .model_card import exported_model_card, trained_model_card
from .model_folder import ADAPTER_CONFIG, ModelFolder, open_model_folder
from .model_index import eval_results, read_card, read_reports, with_results
from .own_files import is_loaded
from .repository import HubRepository, check_repository_name, connect, open_repository, upload_bar

LOCAL_PATH = re.compile(r'"((?:/|[A-Z]:\\\\)[^"\s]*[/\\][^"\s]+)"')
PEFT_TEMPLATE = "# Model Card for Model ID"  # which PEFT leaves beside adapters, with nothing filled in


def publish_model(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    reports: Sequence[str | os.PathLike] = (),
    race: bool = False,
    base_model: str | None = None,
    private: bool = False,
    revision: str = "main",
    overwrite: bool = False,
    trust_remote_code: bool = False,
    dry_run: bool = False,
    progress: bool = True,
    look: Callable[[dict[str, int]], None] | None = None,
) -> dict[str, Any]:
    """Publish the model in `folder` as `repo_id`, and return what was done.

    The card is the folder's `README.md` (PEFT's empty template is none), else the repository's, else a new one. What
    an earlier version would be loaded with, and this one has not, is removed in the same commit; anything else in the
    repository stays.

    Args:
        reports: folders of `facemllm evaluate --out`, whose headline numbers go into the card's `model-index`.
        race: put figures about race there too.
        base_model: the Hub id of the model that an adapter belongs to, where its own configuration names a folder; of
            an ONNX export, that of the model it was exported from, where its record names a folder.
        private: make the repository private; one that exists and is public is refused.
        revision: the branch, made from `main` if it is not there.
        overwrite: put the model in the place of another kind of model.
        trust_remote_code: allow code that comes with the folder, and is not Face-MLLM's, to run.
        dry_run: look at everything and send nothing; the Hub is not asked.
        look: gets the bytes of each file, by its path, before anything is sent; what it raises ends the call.

    Returns:
        `repository`, `url`, `revision`, `commit`, `private`, `files`, `new_files`, `new_bytes`,
        `removed_files`, `ignored` (what lies in the folder and is not the model's), `results` (numbers in
        `model-index`), `notes`, `load` (the calls that load it), `seconds`; for a dry run `card` instead of
        what the Hub would have said.

    Raises:
        ArgumentError: for a `base_model` that is no Hub id.
        UserError: for all else that the caller can mend: the folder, rights, token, name, network, room on the Hub.
    """
    from huggingface_hub import CommitOperationDelete

    began = time.monotonic()
    check_repository_name(repo_id)
    if base_model is not None and not could_be_hub_id(base_model):
        raise ArgumentError("base_model", base_model, "give the Hub id of a model, ORGANISATION/NAME or USER/NAME")
    model = open_model_folder(folder, trust_remote_code)
    read = read_reports(reports)
    _check_reports(reports, read, model)
    results = eval_results(read, race)
    texts = {}
    if model.adapter_base is not None:
        base_model = _base_of(model, base_model)
        config = json.loads((model.folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        texts[ADAPTER_CONFIG] = json.dumps(config | {"base_model_name_or_path": base_model}, indent=2) + "\n"
    if model.export is not None:
        base_model = base_model or _exported_from_hub(model.export)
        texts[EXPORT_RECORD] = _public_record(model.export, base_model)
    about = {
        "repository": repo_id,
        "revision": revision,
        "files": len({*model.files, CARD}),
        "ignored": model.others,
        "results": len(results),
        "load": _load_calls(model, repo_id, revision, base_model),
    }
    planned = texts | {CARD: _card(model, None, repo_id, base_model, results)}
    sent = {addition.path_in_repo: addition.upload_info.size for addition in _additions(model, planned)}
    if dry_run:
        texts = planned
        notes = _notes(model, texts)
        return about | {"sent": sent, "new_bytes": sum(sent.values()), "notes": notes, "card": texts[CARD]}
    connect(repo_id)  # nothing is asked where nothing could be sent
    if look is not None:
        look(sent)
    with open_repository(repo_id, "model", private=private, revision=revision) as repository:
        present = repository.present
        _check_place(repository, model, overwrite)
        published = repository.read_text(CARD) if CARD in present and _kind(present) == _kind(model.files) else None
        texts[CARD] = _card(model, published, repo_id, base_model, results)
        additions = repository.changed(_additions(model, texts))
        stale = [path for path in present if is_loaded(path) and path not in model.files]
        with upload_bar(additions, progress) as bar:
            repository.upload(additions, bar)
            changes = [*additions, *(CommitOperationDelete(path, is_folder=False) for path in stale)]
            repository.commit(changes, "Upload a model with facemllm")
    return about | {
        "url": f"{repository.api.endpoint}/{repo_id}",
        "commit": repository.head,
        "private": repository.private,
        "new_files": len(additions),
        "new_bytes": sum(addition.upload_info.size for addition in additions),
        "removed_files": len(stale),
        "notes": _notes(model, texts),
        "seconds": round(time.monotonic() - began, 2),
    }


def _check_reports(folders: Sequence[str | os.PathLike], reports: Sequence[Any], model: ModelFolder) -> None:
    """Refuse the numbers of other weights. Those of an adapter depend on its base as well, and are not looked at."""
    from facemllm.inference.identity import identify

    for folder, report in zip(folders, reports, strict=True):
        evaluated = (report["run"].get("settings") or {}).get("weights")
        if model.adapter_base is None and evaluated not in (None, identify(model.folder)):
            raise UserError(
                f"--report {folder}: is of {report['model']}, whose weights are not those in {model.folder}; run "
                "facemllm evaluate on this folder"
            )


def _base_of(model: ModelFolder, base_model: str | None) -> str:
    base = base_model or model.adapter_base
    if not base or not could_be_hub_id(base):
        raise UserError(
            f"{model.folder}: is an adapter of {base or 'an unnamed model'}, which is no Hub id, so that nobody else "
            "could load it: say which model it belongs to with --base-model ORG/NAME"
        )
    return base


def _card(
    model: ModelFolder, published: str | None, repo_id: str, base_model: str | None, results: Sequence[Any]
) -> str:
    own = model.folder / CARD
    try:
        card = own.read_text(encoding="utf-8") if own.is_file() else None
    except UnicodeDecodeError as error:
        raise UserError(f"{own}: is no UTF-8 text ({error.reason} at byte {error.start}); mend it first") from error
    if card is None or PEFT_TEMPLATE in card:
        card = published or (
            trained_model_card(model.folder, repo_id, base_model)
            if model.export is None
            else exported_model_card(model.folder, model.export, repo_id, base_model)
        )
    opened = read_card(card)
    if base_model is not None and opened.data.base_model != base_model:
        opened.data.base_model = base_model
        # PEFT names the base there too, as the path that it had on somebody's disk.
        opened.data.tags = [tag for tag in opened.data.tags or () if not tag.startswith("base_model:")]
        card = str(opened)
    return with_results(card, results, repo_id.split("/")[1])


def _exported_from_hub(export: dict[str, Any]) -> str | None:
    """The Hub id that a model was exported from; None for a folder, which has a digest."""
    source = export.get("source") or {}
    name, digest = source.get("name"), source.get("digest", "")
    return name if name and digest is None and could_be_hub_id(name) else None


def _public_record(export: dict[str, Any], base_model: str | None) -> str:
    """The record of an export with the last parts of paths alone: whose disk they lay on is nobody's business."""
    from facemllm_onnx.export.folder import record_text

    source = {**(export.get("source") or {})}
    for key in ("name", "adapter"):
        if source.get(key):
            source[key] = Path(source[key]).name
    if base_model is not None:
        source["name"] = base_model
    return record_text(export | {"source": source})


def _additions(model: ModelFolder, texts: dict[str, str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd

    files = [name for name in model.files if name not in texts]
    return [
        *(CommitOperationAdd(name, str(model.folder / name)) for name in files),
        *(CommitOperationAdd(name, text.encode()) for name, text in texts.items()),
    ]


def _kind(files: Collection[str]) -> str | None:
    """Which kind of model these files are; None for none."""
    kinds = {EXPORT_RECORD: "an ONNX export", "config.json": "a whole model", ADAPTER_CONFIG: "an adapter"}
    return next((kind for name, kind in kinds.items() if name in files), None)


def _check_place(repository: HubRepository, model: ModelFolder, overwrite: bool) -> None:
    """Refuse to put a model in the place of one of another kind, unless `overwrite`."""
    there, ours = _kind(repository.present), _kind(model.files)
    if overwrite or there is None:
        return
    remedy = "give another name, or say --overwrite (older commits keep what was there)"
    if there != ours:
        raise UserError(f"{repository.repo_id} holds {there}, and this is {ours}: {remedy}")
    name, key = (ADAPTER_CONFIG, "peft_type") if model.adapter_base is not None else ("config.json", "model_type")
    try:
        theirs = json.loads(repository.read_text(name)).get(key)
    except (ValueError, AttributeError) as error:
        raise UserError(f"{repository.repo_id}: its {name} is no model's configuration ({error}): {remedy}") from error
    own = json.loads((model.folder / name).read_text(encoding="utf-8")).get(key)
    if theirs != own:
        raise UserError(f"{repository.repo_id} holds another kind of model, {theirs!r} and not {own!r}: {remedy}")


def _notes(model: ModelFolder, texts: dict[str, str]) -> list[str]:
    """What nobody refuses and the publisher may want to mend."""
    notes = []
    if not read_card(texts[CARD]).data.license:
        notes.append("the card names no licence: add one to README.md, and publish again")
    if model.adapter_base is None and model.export is None:
        config = read_settings(model.folder / CONFIG)
        if config.get("model_type") == "facemllm" and code_age(config) != "today's":
            notes.append(f"its code is {describe_code(model.folder, config)}")
    for name in model.files:
        if name.endswith(("config.json", "run.json")):
            text = texts.get(name) or (model.folder / name).read_text(encoding="utf-8", errors="replace")
            if found := LOCAL_PATH.search(text):
                notes.append(f"{name} names a path of this machine, {found[1]}: everybody will read it")
    return notes


def _load_calls(model: ModelFolder, repo_id: str, revision: str, base_model: str | None) -> list[str]:
    pinned = f', revision="{revision}"' if revision != "main" else ""
    if model.adapter_base is not None:
        base = f'AutoModelForImageTextToText.from_pretrained("{base_model}")'
        return [f'PeftModel.from_pretrained({base}, "{repo_id}"{pinned})']
    if model.export is not None:
        return [f'FaceMLLMForONNX.from_pretrained("{repo_id}"{pinned})', f"facemllm ask {repo_id} face.png QUESTION"]
    pipelines = json.loads((model.folder / "config.json").read_text(encoding="utf-8")).get("custom_pipelines") or ()
    return [
        f'AutoModelForImageTextToText.from_pretrained("{repo_id}", trust_remote_code=True{pinned})',
        *(f'pipeline("{name}", model="{repo_id}", trust_remote_code=True{pinned})' for name in pipelines),
    ]
