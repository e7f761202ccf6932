"""A Hub on loopback for tests: what publishing and loading use of the Hub's API, in a process of its own.

Real HTTP, real files on disk, and the Hub's rules: private and gated repositories, tokens that read or write, large
files that go to a storage of another host name by signed address before the commit that names them. Xet is not spoken:
clients set `HF_HUB_DISABLE_XET=1`. It notes every request and the bytes it received, and misbehaves on demand.

    python -m tests.facemllm.publishing.hub_server FOLDER PORT
"""

import hashlib
import hmac
import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import yaml

from tests.facemllm.publishing.hub_http import Handler, HubError, Server, route
from tests.facemllm.publishing.hub_repositories import LARGE_FILE_SUFFIXES, REGULAR_BYTES, Repository, Storage, listing

PAGE = 1000
SECRET = b"of this test only"
NAME = r"(?P<id>[\w.-]+/[\w.-]+)"
API = rf"/api/(?P<kind>dataset|model)s/{NAME}"
FIELD_TYPES = {"text", "checkbox", "country", "date_picker"}


class Hub(Handler):
    """The Hub's API."""

    @property
    def storage(self) -> Storage:
        return Storage(self.server.root)

    # -- who asks, and what for

    @property
    def account(self):
        """Who the token belongs to; None for a stranger."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not token:
            return None
        try:
            return json.loads((self.server.root / "accounts.json").read_text())[token]
        except KeyError:
            raise HubError(401, "Invalid credentials in Authorization header") from None

    def is_member(self, name):
        account = self.account
        return account is not None and name.split("/")[0] in (account["name"], *account.get("orgs", ()))

    def repository(self, kind, name) -> Repository:
        """The repository, if the asker may know of it."""
        member = self.is_member(name)
        try:
            repository = self.storage.load(kind, name)
        except HubError:
            if self.account is None:
                raise HubError(401, "Invalid username or password.", "RepoNotFound") from None
            raise
        if repository.private and not member:
            raise HubError(404 if self.account else 401, "Repository not found", "RepoNotFound")
        return repository

    def check_writer(self, name):
        if self.account is None:
            raise HubError(401, "Invalid username or password.")
        if self.account.get("role") != "write" or not self.is_member(name):
            raise HubError(403, f"You don't have the rights to write under the namespace {name.split('/')[0]}")

    def check_reader(self, repository):
        account = self.account
        if not repository.gated or self.is_member(repository.id):
            return
        if account is None or account["name"] not in repository.granted:
            message = f"Access to {repository.type} {repository.id} is restricted. You must have access to it."
            raise HubError(401 if account is None else 403, message, "GatedRepo")

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    # -- accounts and repositories

    @route("GET", "/api/whoami-v2")
    def who_am_i(self):
        if (account := self.account) is None:
            raise HubError(401, "Invalid username or password.")
        orgs = [{"name": org, "type": "org"} for org in account.get("orgs", ())]
        role = {"accessToken": {"role": account.get("role", "read")}}
        self.send_json({"type": "user", "name": account["name"], "orgs": orgs, "auth": role})

    @route("POST", "/api/repos/create")
    def create(self):
        asked = self.read_json()
        if (account := self.account) is None:
            raise HubError(401, "Invalid username or password.")
        kind, name = asked.get("type") or "model", f"{asked.get('organization') or account['name']}/{asked['name']}"
        self.check_writer(name)
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.storage.create(kind, name, private)
        self.send_json({"url": self.url(f"/{'datasets/' if kind == 'dataset' else ''}{name}"), "name": name})

    @route("DELETE", "/api/repos/delete")
    def delete(self):
        asked = self.read_json()
        name = f"{asked.get('organization') or self.account['name']}/{asked['name']}"
        self.check_writer(name)
        self.storage.delete(asked.get("type") or "model", name)
        self.send_json({})

    @route("PUT", f"{API}/settings")
    def change_settings(self, kind, id):
        asked = self.read_json()
        repository = self.repository(kind, id)
        self.check_writer(id)
        if asked.get("gated", False) not in ("auto", "manual", False):
            raise HubError(400, "gated must be auto, manual or false")
        repository.gated = asked.get("gated", repository.gated)
        repository.private = asked.get("private", asked.get("visibility", repository.private) in (True, "private"))
        self.storage.save(repository)
        self.send_json({"private": repository.private, "gated": repository.gated})

    @route("POST", f"{API}/user-access-request/grant")
    def grant(self, kind, id):
        asked = self.read_json()
        repository = self.repository(kind, id)
        self.check_writer(id)
        repository.granted.append(asked["user"])
        self.storage.save(repository)
        self.send_json({})

    @route("GET", f"{API}(/revision/(?P<revision>.+))?")
    def info(self, kind, id, revision="main"):
        repository = self.repository(kind, id)
        files = repository.files(revision)
        oid = repository.commit_of(revision)
        card = self.storage.object_path(files["README.md"].sha256) if "README.md" in files else None
        blobs = "blobs" in self.query
        answer = {"_id": hashlib.sha1(id.encode()).hexdigest()[:24], "id": id, "author": id.split("/")[0], "sha": oid}
        answer |= {"private": repository.private, "gated": repository.gated, "disabled": False, "tags": []}
        answer |= {"downloads": 0, "likes": 0, "lastModified": repository.commits[oid]["date"]}
        answer["cardData"] = front_matter(card.read_text()) if card else {}
        answer["siblings"] = [
            {"rfilename": path, **({**file.listed(path), "blobId": file.git_oid} if blobs else {})}
            for path, file in files.items()
        ]
        self.send_json(answer)

    @route("GET", f"{API}/refs")
    def references(self, kind, id):
        refs = self.repository(kind, id).refs.items()
        branches = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid} for name, oid in refs]
        self.send_json({"branches": branches, "converts": [], "tags": []})

    @route("POST", f"{API}/branch/(?P<name>.+)")
    @route("POST", f"{API}/tag/(?P<revision>.+)")
    def add_reference(self, kind, id, name=None, revision=None):
        asked = self.read_json()
        repository = self.repository(kind, id)
        self.check_writer(id)
        name, start = (name, asked.get("startingPoint", "main")) if name else (asked["tag"], revision)
        if name in repository.refs:
            raise HubError(409, "Reference already exists")
        repository.refs[name] = repository.commit_of(start)
        self.storage.save(repository)
        self.send_json({})

    @route("GET", f"{API}/commits/(?P<revision>.+)")
    def history(self, kind, id, revision):
        repository = self.repository(kind, id)
        oid, listed = repository.commit_of(revision), []
        while oid:
            commit = repository.commits[oid]
            listed.append({"id": oid, "title": commit["title"], "message": "", "date": commit["date"], "authors": []})
            oid = commit["parent"]
        self.send_json(listed)

    # -- writing

    @route("POST", "/api/validate-yaml")
    def validate_card(self):
        errors = card_errors(self.read_json()["content"])
        self.send_json({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)

    @route("POST", f"{API}/preupload/(?P<revision>.+)")
    def preupload(self, kind, id, revision):
        asked = self.read_json()
        repository = self.repository(kind, id)
        self.check_writer(id)
        files, answer = repository.files(revision), []
        for entry in asked["files"]:
            path, known = entry["path"], files.get(entry["path"])
            large = path.endswith(LARGE_FILE_SUFFIXES) or entry["size"] > REGULAR_BYTES
            oid = known and (known.sha256 if known.large else known.git_oid)
            answer.append(
                {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}
            )
        self.send_json({"files": answer})

    @route("POST", rf"/(?P<kind>datasets/)?{NAME}\.git/info/lfs/objects/batch")
    def large_file_batch(self, id, kind=""):
        asked = self.read_json()
        self.repository("dataset" if kind else "model", id)
        self.check_writer(id)
        objects = []
        for entry in asked["objects"]:
            known = self.storage.object_path(entry["oid"]).exists()
            href = self.storage_url(entry["oid"])
            objects.append({**entry, **({} if known else {"actions": {"upload": {"href": href}}})})
        self.send_json({"transfer": "basic", "objects": objects})

    @route("POST", f"{API}/commit/(?P<revision>.+)")
    def commit(self, kind, id, revision):
        lines = [json.loads(line) for line in self.read_body().splitlines() if line.strip()]
        self.check_writer(id)
        with self.server.lock:
            oid = self.storage.apply(self.repository(kind, id), revision, lines)
        self.send_json({"success": True, "commitOid": oid, "commitUrl": self.url(f"/{kind}s/{id}/commit/{oid}")})

    # -- the storage of large files, known to clients by another host name, where tokens are not to be sent

    def storage_url(self, oid):
        signature = hmac.new(SECRET, oid.encode(), "sha256").hexdigest()
        return f"http://localhost:{self.server.server_port}/_storage/{oid}?signature={signature}"

    def check_signature(self, oid):
        if self.path != urlsplit(self.storage_url(oid))._replace(scheme="", netloc="").geturl():
            raise HubError(403, "SignatureDoesNotMatch")
        if "Authorization" in self.headers:
            raise HubError(400, "Only one auth mechanism allowed")

    @route("PUT", "/_storage/(?P<oid>[0-9a-f]{64})")
    def receive_large_file(self, oid):
        self.check_signature(oid)
        path = self.storage.object_path(oid)
        temporary = path.with_name(f".{oid}.{uuid4().hex}")
        try:
            with open(temporary, "wb") as file:
                self.read_body(sink=file)
            with open(temporary, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != oid:
                    raise HubError(400, "the content is not what its address says")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        self.send(b"", headers={"ETag": f'"{oid}"'})

    @route("GET", "/_storage/(?P<oid>[0-9a-f]{64})")
    def give_large_file(self, oid):
        self.check_signature(oid)
        self.send_content(oid, {})

    # -- reading

    @route("GET", f"{API}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?")
    def tree(self, kind, id, revision, folder=""):
        entries = listing(self.repository(kind, id).files(revision), folder, flag(self.query, "recursive"))
        start = int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if len(entries) > start + PAGE:
            query = f"recursive={flag(self.query, 'recursive')}&cursor={start + PAGE}"
            headers["Link"] = f'<{self.url(urlsplit(self.path).path)}?{query}>; rel="next"'
        self.send_json(entries[start : start + PAGE], headers=headers)

    @route("POST", f"{API}/paths-info/(?P<revision>.+)")
    def paths(self, kind, id, revision):
        body = self.read_body().decode()
        asked = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        entries = listing(self.repository(kind, id).files(revision), "", recursive=True)
        self.send_json([entry for entry in entries if entry["path"] in {path.strip("/") for path in asked}])

    @route("GET", rf"/(?P<kind>datasets/)?{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def resolve(self, id, revision, path, kind=""):
        repository = self.repository("dataset" if kind else "model", id)
        oid = repository.commit_of(revision)
        self.check_reader(repository)
        file = repository.files(oid).get(path)
        headers = {"X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if file is None:
            raise HubError(404, "Entry not found", "EntryNotFound", **headers)
        if file.large:
            headers |= {"Location": self.storage_url(file.sha256), "X-Linked-Size": str(file.size)}
            self.send(b"", 302, {**headers, "X-Linked-ETag": f'"{file.sha256}"'})
        else:
            self.send_content(file.sha256, {**headers, "ETag": f'"{file.git_oid}"'})

    def send_content(self, oid, headers):
        path = self.storage.object_path(oid)
        size = path.stat().st_size
        first, last, status = 0, size - 1, 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last, status = int(asked[1]), min(int(asked[2] or last), last), 206
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            if first > last:
                raise HubError(416, "Range Not Satisfiable", **{"Content-Range": f"bytes */{size}"})
        headers = {"ETag": f'"{oid}"', "Accept-Ranges": "bytes", **headers}
        with open(path, "rb") as file:
            file.seek(first)
            body = b"" if self.command == "HEAD" else file.read(last + 1 - first)
        self.send(body, status, headers, size=last + 1 - first)


def flag(query, name):
    return query.get(name, [""])[0].lower() in ("true", "1")


def front_matter(text):
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return yaml.safe_load(match[1]) if match else {}


def card_errors(text):
    """What the Hub refuses in a card, of the entries that the cards here have."""
    try:
        data = front_matter(text)
    except yaml.YAMLError as error:
        return [f"the metadata is no YAML: {error}"]
    errors = []
    if "license_name" in data and data.get("license") != "other":
        errors.append('"license_name" needs license: other')
    for name, kind in (data.get("extra_gated_fields") or {}).items():
        known = kind["type"] == "select" and kind["options"] if isinstance(kind, dict) else kind in FIELD_TYPES
        if not known:
            errors.append(f'"extra_gated_fields": {name!r} has no type the Hub knows')
    for config in data.get("configs", ()):
        if not {"config_name", "data_files"} <= set(config):
            errors.append('"configs": an entry lacks config_name or data_files')
    return errors


def main(folder: str, port: str) -> None:
    server = Server(Path(folder), int(port), Hub)
    Path(folder, "port").write_text(str(server.server_port))
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
