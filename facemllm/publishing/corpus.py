"""A corpus to the Hub: shards first, the card last, so that nobody loads half of one; resumed by the same command.

A corpus of up to `COMMIT_FILES` changed files becomes public in one commit. A larger one takes several, since the
Hub ends a commit that takes it too long; while they are made, the card says so and `load_dataset` finds no config.
"""

import json
import os
import re
import time
from collections.abc import Callable
from typing import Any

from datasets_scripts.corpus.card import REPOSITORY
from datasets_scripts.corpus.complete import CompleteCorpus, open_corpus
from datasets_scripts.corpus.writing import CARD, MANIFEST
from facemllm.cli import UserError

from .own_files import check_inside
from .repository import HubRepository, connect, open_repository, upload_bar

COMMIT_FILES = 250  # what huggingface_hub begins with when it uploads a folder
FOLDER_FILES = 10_000  # the Hub's own limit for one folder
SHARD = re.compile(r"(?P<config>[^/]+)/(?P<split>[^/]+)-\d{5,}-of-\d{5,}\.parquet")

BEING_UPLOADED = """\
---
configs:
- config_name: being_uploaded
  data_files: being_uploaded/*.parquet
---

# Being uploaded

This corpus is being uploaded by `facemllm publish corpus`, and cannot be loaded until all of it is here. If nothing
changes for long, the upload was interrupted: whoever began it can run the same command again to go on. Earlier
versions can be loaded by their revision.
"""


def publish_corpus(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool = False,
    gate: str | None = None,
    revision: str = "main",
    may_pass_on: bool = False,
    overwrite: bool = False,
    commit_files: int = COMMIT_FILES,
    progress: bool = True,
    look: Callable[[dict[str, int]], None] | None = None,
) -> dict[str, Any]:
    """Publish the complete corpus in `folder` as the data set `repo_id`, and return what was done.

    The same call goes on where one was interrupted, and sends nothing where nothing has changed. Shards that an
    earlier version had, and this one has not, are removed.

    Args:
        private: make the repository private; one that exists and is public is refused.
        gate: who may read the files: `manual` (whoever is approved), `auto` (whoever applies) or `none`. By
            default the gate that a repository has is kept, and a corpus of people gets `manual`.
        revision: the branch, made from `main` if it is not there.
        may_pass_on: the caller has the right to pass on pictures or labels of people whose terms do not give it.
        overwrite: put the corpus in the place of another one, or beside data that did not come from here.
        commit_files: files that one commit may change.
        look: gets the bytes of each file, by its path, before anything is sent; what it raises ends the call.

    Returns:
        `repository`, `url`, `revision`, `commit`, `private`, `gated`, `files`, `new_files`,
        `new_bytes`, `removed_files`, `ignored` (files of the folder that are not the corpus's), `commits`,
        `load` (the call that loads each config), `seconds`.

    Raises:
        CorpusError: if the folder is no complete corpus.
        UserError: for everything the caller can mend: rights, token, name, network, room on the Hub, and a file that
            lies outside the folder, behind a link.
    """
    began = time.monotonic()
    corpus = open_corpus(folder)
    if not may_pass_on and (reason := corpus.why_not_to_pass_on()):
        remedy = "keep it to yourself, or, if you have the right to pass it on, say so with --i-may-pass-this-on"
        raise UserError(f"{corpus.folder} {reason}: {remedy}")
    _check_folders(corpus)
    files = [*corpus.shards, CARD, MANIFEST]
    check_inside(corpus.folder, files)
    connect(repo_id)  # nothing is asked where nothing could be sent
    if look is not None:
        look({name: (corpus.folder / name).stat().st_size for name in files})
    with open_repository(repo_id, "dataset", private=private, revision=revision) as repository:
        known = _known_configs(repository, corpus, overwrite)
        _set_gate(repository, corpus, gate)
        additions, texts = _changes(corpus, repository, progress)
        stale = [
            path
            for path in repository.present
            if (match := SHARD.fullmatch(path)) and match["config"] in known and path not in corpus.shards
        ]
        _carry_out(repository, additions, stale, texts, commit_files, progress)
    return {
        "repository": repo_id,
        "url": f"{repository.api.endpoint}/datasets/{repo_id}",
        "revision": revision,
        "commit": repository.head,
        "private": repository.private,
        "gated": repository.gated,
        "files": len(corpus.shards) + 2,
        "new_files": len(additions) + len(texts),
        "new_bytes": sum(addition.upload_info.size for addition in [*additions, *texts]),
        "removed_files": len(stale),
        "ignored": list(corpus.others),
        "commits": repository.commits,
        "load": [_load_call(repo_id, config, revision) for config in corpus.configs],
        "seconds": round(time.monotonic() - began, 2),
    }


def _check_folders(corpus: CompleteCorpus) -> None:
    for config in corpus.configs:
        shards = sum(split["shards"] for split in corpus.manifest["configs"][config].values())
        if shards > FOLDER_FILES:
            raise UserError(
                f"{config} has {shards:,} shards, and a folder on the Hub may have {FOLDER_FILES:,} files: build the "
                "corpus with a larger --shard-rows"
            )


def _set_gate(repository: HubRepository, corpus: CompleteCorpus, gate: str | None) -> None:
    """Before the first file, so that no picture is ever open to everybody."""
    wanted = {"none": False, None: repository.gated or (corpus.manifest["gated"] and "manual")}.get(gate, gate)
    if wanted != repository.gated:
        repository.api.update_repo_settings(**repository.address, gated=wanted)
        repository.gated = wanted


def _known_configs(repository: HubRepository, corpus: CompleteCorpus, overwrite: bool) -> set[str]:
    """The configs whose shards in the repository are ours to remove. Raises `UserError` for somebody else's data."""
    present = repository.present
    manifest = json.loads(repository.read_text(MANIFEST)) if MANIFEST in present else None
    begun = CARD in present and repository.read_text(CARD) == BEING_UPLOADED
    if not overwrite and not begun:
        data = [path for path in present if path not in (CARD, MANIFEST) and not path.startswith(".")]
        remedy = "give another name, or say --overwrite (older commits keep what was there)"
        if manifest is None and data:
            raise UserError(f"{repository.repo_id} holds data that did not come from here ({data[0]}): {remedy}")
        if manifest is not None and manifest["name"] != corpus.manifest["name"]:
            raise UserError(f"{repository.repo_id} holds another corpus, {manifest['name']!r}: {remedy}")
    return {*corpus.configs, *(manifest or {}).get("configs", ())}


def _changes(corpus: CompleteCorpus, repository: HubRepository, progress: bool) -> tuple[list[Any], list[Any]]:
    """The shards, and the texts that end the upload, which are not in the repository as they are here."""
    from huggingface_hub import CommitOperationAdd
    from tqdm import tqdm

    silent = not progress or MANIFEST not in repository.present
    names = tqdm(corpus.shards, desc="comparing", unit="shard", disable=silent)
    shards = (CommitOperationAdd(shard, str(corpus.folder / shard)) for shard in names)
    card = (corpus.folder / CARD).read_text(encoding="utf-8").replace(f'"{REPOSITORY}"', f'"{repository.repo_id}"')
    texts = [
        CommitOperationAdd(CARD, card.encode()),
        CommitOperationAdd(MANIFEST, (corpus.folder / MANIFEST).read_bytes()),
    ]
    changed = repository.changed(shards)
    return changed, texts if changed else repository.changed(texts)


def _carry_out(
    repository: HubRepository,
    additions: list[Any],
    stale: list[str],
    texts: list[Any],
    commit_files: int,
    progress: bool,
) -> None:
    """Upload and commit. The card comes with the last commit, after everything else."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    deletions = [CommitOperationDelete(path, is_folder=False) for path in stale]
    changes = [*additions, *deletions]
    batches = [changes[first : first + commit_files] for first in range(0, len(changes), commit_files)]
    staged = len(batches) > 1
    if staged and (notice := repository.changed([CommitOperationAdd(CARD, BEING_UPLOADED.encode())])):
        repository.commit(notice, "Begin to upload a corpus")
    with upload_bar(additions, progress) as bar:
        for number, batch in enumerate(batches, 1):
            repository.upload([change for change in batch if isinstance(change, CommitOperationAdd)], bar)
            if staged:
                repository.commit(batch, f"Upload a corpus, part {number} of {len(batches)}")
        last = texts if staged else [*changes, *texts]
        if last:
            repository.commit(last, "Upload a corpus with facemllm")


def _load_call(repo_id: str, config: str, revision: str) -> str:
    words = [f'"{repo_id}"', f'"{config}"', *([f'revision="{revision}"'] if revision != "main" else [])]
    return f"load_dataset({', '.join(words)})"
