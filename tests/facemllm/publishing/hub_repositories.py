"""Repositories of the loopback Hub on disk: commits of files by content, so that a server that died finds them again.

A commit is a table of paths; contents lie by sha256 in `objects/`, large files uploaded ahead of their commit too.
"""

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from tests.facemllm.publishing.hub_http import HubError

LARGE_FILE_SUFFIXES = (".parquet", ".safetensors", ".bin", ".onnx", ".onnx_data", ".pt", ".arrow", ".zip", ".npy")
REGULAR_BYTES = 10 * 2**20  # a larger file goes the way of large files whatever its name


@dataclass(frozen=True)
class File:
    size: int
    sha256: str
    git_oid: str
    large: bool

    def listed(self, path: str) -> dict:
        entry = {"type": "file", "path": path, "oid": self.git_oid, "size": self.size}
        if self.large:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return entry


@dataclass
class Repository:
    type: str
    id: str
    private: bool = False
    gated: str | bool = False
    granted: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)  # branches and tags
    commits: dict[str, dict] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str:
        oid = self.refs.get(revision, revision)
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid

    def files(self, revision: str) -> dict[str, File]:
        return {path: File(*entry) for path, entry in self.commits[self.commit_of(revision)]["files"].items()}

    def add_commit(self, branch: str, title: str, files: dict[str, File]) -> str:
        parent = self.refs.get(branch)
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        entries = {path: [file.size, file.sha256, file.git_oid, file.large] for path, file in sorted(files.items())}
        commit = {"parent": parent, "title": title, "date": date, "files": entries}
        oid = hashlib.sha1(json.dumps([self.id, uuid4().hex, commit]).encode()).hexdigest()
        self.commits[oid] = commit
        self.refs[branch] = oid
        return oid


class Storage:
    """All repositories and contents under one folder, each file written whole or not at all."""

    def __init__(self, root: Path):
        self.root = root
        (root / "objects").mkdir(parents=True, exist_ok=True)

    def object_path(self, sha256: str) -> Path:
        return self.root / "objects" / sha256

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self._write(self.object_path(sha256), content)
        return sha256

    def regular_file(self, content: bytes) -> File:
        git_oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return File(len(content), self.put(content), git_oid, large=False)

    def large_file(self, sha256: str) -> File:
        path = self.object_path(sha256)
        if not path.exists():
            raise HubError(400, f"LFS object {sha256} was not uploaded before its commit")
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {path.stat().st_size}\n"
        git_oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer.encode()).hexdigest()
        return File(path.stat().st_size, sha256, git_oid, large=True)

    def create(self, kind: str, name: str, private: bool) -> Repository:
        if self._path(kind, name).exists():
            raise HubError(409, "You already created this repo")
        repository = Repository(kind, name, private)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_FILE_SUFFIXES)
        repository.add_commit("main", "initial commit", {".gitattributes": self.regular_file(attributes.encode())})
        self.save(repository)
        return repository

    def load(self, kind: str, name: str) -> Repository:
        try:
            return Repository(**json.loads(self._path(kind, name).read_text()))
        except FileNotFoundError:
            raise HubError(404, "Repository not found", "RepoNotFound") from None

    def save(self, repository: Repository) -> None:
        self._write(self._path(repository.type, repository.id), json.dumps(vars(repository)).encode())

    def delete(self, kind: str, name: str) -> None:
        self._path(kind, name).unlink()

    def apply(self, repository: Repository, branch: str, lines: list[dict]) -> str:
        """Make the commit that the lines of a commit request describe, all of it or, on a `HubError`, nothing."""
        header = next(line["value"] for line in lines if line["key"] == "header")
        head = repository.refs.get(branch)
        if head is None:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        if header.get("parentCommit") not in (None, head):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = repository.files(branch)
        for line in lines:
            value, key = line["value"], line["key"]
            path = value.get("path", "")
            if key == "deletedFile" and path not in files:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            if key in ("deletedFile", "deletedFolder"):
                gone = [name for name in files if name == path or name.startswith(path.rstrip("/") + "/")]
                files = {name: file for name, file in files.items() if name not in gone}
            elif key == "file":
                files[path] = self.regular_file(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                files[path] = self.large_file(value["oid"])
        oid = repository.add_commit(branch, header["summary"], files)
        self.save(repository)
        return oid

    def _path(self, kind: str, name: str) -> Path:
        return self.root / "repositories" / f"{kind}s" / f"{name}.json"

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4().hex}")
        temporary.write_bytes(content)
        os.replace(temporary, path)


def listing(files, folder, recursive):
    """Files and folders below `folder` as the Hub lists them."""
    prefix = f"{folder.strip('/')}/" if folder else ""
    inside = {path: file for path, file in files.items() if path.startswith(prefix)}
    if not inside:
        raise HubError(404, f"{folder} does not exist", "EntryNotFound")
    folders = {"/".join(path.split("/")[:depth]) for path in inside for depth in range(1, path.count("/") + 1)}
    entries = [file.listed(path) for path, file in inside.items()]
    for path in folders:
        if path.startswith(prefix):
            entries.append(
                {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}
            )
    entries.sort(key=lambda entry: entry["path"])
    return [entry for entry in entries if recursive or "/" not in entry["path"][len(prefix) :]]
