"""A repository on the Hub: what is in it, commits that survive a bad connection, and errors in one line."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from facemllm.cli import UserError

GROUP_BYTES = 256 * 2**20  # sent before the bar moves
TRIES = 5  # of a commit, where the Hub fails or asks to wait
MAX_WAIT = 300.0  # seconds; the Hub's limits on commits are per hour, and nobody wants to look at that
PASSING = {429, 500, 502, 503, 504}
TRANSPORT = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}  # by version of huggingface_hub


@dataclass
class HubRepository:
    """One branch of a repository of `repo_type`.

    `head` is the commit that the next one follows; `present` each file by its path, with size, `blob_id` and, for
    large ones, `lfs.sha256`; `commits` the number of those made here.
    """

    api: Any  # huggingface_hub.HfApi
    repo_id: str
    repo_type: str
    revision: str
    private: bool
    gated: str | bool
    head: str = ""
    present: dict[str, Any] = field(default_factory=dict)
    commits: int = 0

    @property
    def address(self) -> dict[str, str]:
        return {"repo_id": self.repo_id, "repo_type": self.repo_type}

    def refresh(self) -> None:
        """Ask the Hub for `head` and `present`."""
        self.head = self.api.repo_info(**self.address, revision=self.revision).sha
        listed = self.api.list_repo_tree(**self.address, revision=self.head, recursive=True)
        self.present = {entry.path: entry for entry in listed if hasattr(entry, "blob_id")}

    def changed(self, additions: Iterable[Any]) -> list[Any]:
        """Those of the files to be added that are not there as they are here."""
        return [addition for addition in additions if not _is_same(addition, self.present.get(addition.path_in_repo))]

    def read_text(self, path: str) -> str:
        """A small file's content, past the local cache."""
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            file = self.api.hf_hub_download(**self.address, filename=path, revision=self.head, local_dir=folder)
            with open(file, encoding="utf-8") as opened:
                return opened.read()

    def upload(self, additions: Sequence[Any], bar: Any) -> None:
        """Send large files ahead of their commit; those that the Hub has already, under any name, are not sent."""
        for group in _groups(additions):
            self.api.preupload_lfs_files(**self.address, additions=group, revision=self.revision, free_memory=False)
            bar.update(sum(addition.upload_info.size for addition in group))

    def commit(self, operations: Sequence[Any], message: str) -> None:
        """Make one commit, all of it or nothing; tried again where the Hub fails, asks to wait, or does not answer."""
        from huggingface_hub.errors import HfHubHTTPError

        self.commits += 1
        for attempt in range(TRIES):
            if not operations:
                return
            try:
                made = self.api.create_commit(
                    **self.address,
                    operations=operations,
                    commit_message=message,
                    revision=self.revision,
                    parent_commit=self.head,
                )
            except Exception as error:
                status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
                wait = _wait(error, attempt)
                if attempt == TRIES - 1 or wait > MAX_WAIT or not (status in PASSING or _is_transport(error)):
                    raise
                time.sleep(wait)
                operations = self._missing(operations)  # it may have been made, and only the answer was lost
            else:
                self.head = made.oid
                return

    def _missing(self, operations: Sequence[Any]) -> list[Any]:
        from huggingface_hub import CommitOperationAdd

        self.refresh()
        additions = [operation for operation in operations if isinstance(operation, CommitOperationAdd)]
        deletions = [operation for operation in operations if not isinstance(operation, CommitOperationAdd)]
        return [*self.changed(additions), *(entry for entry in deletions if entry.path_in_repo in self.present)]


@contextlib.contextmanager
def upload_bar(additions: Sequence[Any], progress: bool) -> Iterator[Any]:
    """One bar for the bytes of all `additions` instead of huggingface_hub's, one for each file."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from tqdm import tqdm

    total = sum(addition.upload_info.size for addition in additions)
    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with tqdm(total=total, unit="B", unit_scale=True, desc="uploading", disable=not (progress and total)) as bar:
            yield bar
    finally:
        if had_bars:
            enable_progress_bars()


def _is_same(addition: Any, present: Any) -> bool:
    """Whether the file to be added is the one that lies there, `present`, or None."""
    from huggingface_hub.utils.sha import git_hash

    if present is None or present.size != addition.upload_info.size:
        return False
    if present.lfs is not None:
        return present.lfs.sha256 == addition.upload_info.sha256.hex()
    with addition.as_file() as file:
        return present.blob_id == git_hash(file.read())


def connect(repo_id: str) -> Any:
    """A `HfApi` with the user's token. Raises `UserError` for a name that is none, without a token, or offline."""
    from huggingface_hub import HfApi, constants, get_token

    check_repository_name(repo_id)
    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be published: unset it")
    if not (token := get_token()):
        raise UserError("there is no token to publish with: log in with hf auth login, or set HF_TOKEN")
    return HfApi(token=token, library_name="facemllm")


def check_repository_name(repo_id: str) -> None:
    """Raises `UserError` for what is no name of a repository with its owner."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    with contextlib.suppress(HFValidationError):
        validate_repo_id(repo_id)
        if repo_id.count("/") == 1:
            return
    raise UserError(f"{repo_id!r} is no name of a repository: give ORGANISATION/NAME or USER/NAME")


@contextlib.contextmanager
def open_repository(repo_id: str, repo_type: str, *, private: bool, revision: str) -> Iterator[HubRepository]:
    """The repository, made if it is not there, and within the context what the Hub and the network answer as a
    `UserError` that says what to do. One too if the repository is public where `private` is wanted."""
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    api = connect(repo_id)
    again = "what was uploaded is kept: run the same command again"
    try:
        try:
            info = api.repo_info(repo_id, repo_type=repo_type)
            if private and not info.private:
                raise UserError(
                    f"{repo_id} exists and is public: make it private in its settings first "
                    f"({api.endpoint}/{repo_type}s/{repo_id}/settings), or give another name"
                )
        except RepositoryNotFoundError:
            api.create_repo(repo_id, repo_type=repo_type, private=private)
            info = api.repo_info(repo_id, repo_type=repo_type)
        if revision != "main":
            api.create_branch(repo_id, repo_type=repo_type, branch=revision, exist_ok=True)
        repository = HubRepository(api, repo_id, repo_type, revision, bool(info.private), info.gated or False)
        repository.refresh()
        yield repository
    except UserError:
        raise
    except Exception as raised:
        error: BaseException = raised
        while isinstance(error, RuntimeError) and error.__cause__ is not None:
            error = error.__cause__  # behind the one with which huggingface_hub says which file it was
        if isinstance(error, HfHubHTTPError):
            raise UserError(_explain(error, repo_id, api.endpoint, again)) from raised
        if _is_transport(error):
            broke = f"the connection to {api.endpoint} broke ({error or type(error).__name__})"
            raise UserError(f"{broke}; {again}") from raised
        if isinstance(error, ValueError) and str(error).startswith(("LFS batch API", "Invalid metadata")):
            raise UserError(f"the Hub refuses: {error}") from raised
        raise


def _explain(error: Any, repo_id: str, endpoint: str, again: str) -> str:
    owner, status = repo_id.split("/")[0], error.response.status_code
    said = error.response.headers.get("X-Error-Message") or getattr(error, "server_message", None) or ""
    message = {
        401: f"the token is not accepted: make one that may write at {endpoint}/settings/tokens (hf auth login)",
        402: f"the account of {owner} has to pay for this, or has no room left; then {again}",
        403: f"the token may not write to {owner}, or its storage is full: see the Hub's words",
        404: f"{repo_id}, or the branch, is not there, or this token may not see it",
        409: f"{repo_id} exists and this token may not see it: give another name or another token",
        412: f"somebody else has changed {repo_id} meanwhile: look at it, then run the same command again",
        413: "the Hub takes no more: the storage is full, or a file is too large",
        429: f"the Hub limits how often one may ask; wait, then {again}",
        507: f"the Hub has no room left for {owner}: make room or pay for more; then {again}",
    }.get(status, f"the Hub fails; {again}" if status >= 500 else "the Hub refuses")
    return f"{message} ({status}{': ' if said else ''}{said[:300]})"


def _groups(additions: Sequence[Any]) -> Iterator[list[Any]]:
    group: list[Any] = []
    for addition in additions:
        group.append(addition)
        if sum(entry.upload_info.size for entry in group) >= GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def _is_transport(error: BaseException) -> bool:
    return type(error).__module__.split(".")[0] in TRANSPORT or isinstance(error, ConnectionError)


def _wait(error: BaseException, attempt: int) -> float:
    """Seconds until the next try: what the Hub asks for, else 1, 2, 4 and so on."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else float(2**attempt)
