"""The loopback Hub as tests use it: started in a process of its own, asked what it received, made to misbehave."""

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[3]
ACCOUNTS = {  # by token
    "writer": {"name": "anna", "orgs": ["faces"], "role": "write"},
    "reader": {"name": "anna", "orgs": ["faces"], "role": "read"},
    "stranger": {"name": "bob", "role": "write"},
}


class HubProcess:
    """A running Hub; all its state is in the folder `root`, where the next one finds it."""

    def __init__(self, root: Path):
        self.root, self.port = root, "0"
        (root / "accounts.json").write_text(json.dumps(ACCOUNTS))
        self.start()

    def start(self):
        (self.root / "port").unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.facemllm.publishing.hub_server", str(self.root), self.port]
        self.process = subprocess.Popen(command, cwd=ROOT)
        until(lambda: (self.root / "port").exists() and (self.root / "port").read_text())
        self.port = (self.root / "port").read_text()
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.process.kill()
        self.process.wait()

    def environment(self, home: Path, token: str | None = "writer") -> dict[str, str]:
        """For a client's process: this Hub instead of the real one, and caches under `home`."""
        environment = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
        environment |= {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home)}
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1,localhost"}
        return environment | ({"HF_TOKEN": token} if token else {})

    def misbehave(self, match: str, how: str, *, skip: int = 0, times: int = 1):
        """At requests whose `METHOD /path` matches, after the first `skip`: see `hub_http.Handler.misbehave`."""
        fault = {"match": match, "how": how, "skip": skip, "times": times}
        request = urllib.request.Request(f"{self.url}/_faults", json.dumps(fault).encode(), method="POST")
        urllib.request.urlopen(request).close()

    def requests(self, method: str | None = None, path: str = "") -> list[dict]:
        """What it has answered so far: method, path, status (None without an answer), bytes received."""
        log = self.root / "requests.ndjson"
        noted = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [entry for entry in noted if path in entry["path"] and method in (None, entry["method"])]


class ClientProcess:
    """A process that runs code for the tests, one piece after the other, so that libraries are imported only once."""

    def __init__(self, environment: dict[str, str]):
        command = [sys.executable, "-c", CLIENT]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)

    def run(self, code: str, token: str | None = "writer") -> tuple[str, str]:
        """What the code printed to stdout and to stderr; what it raises is an AssertionError here."""
        self.process.stdin.write(json.dumps({"code": textwrap.dedent(code), "token": token}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert not answer["raised"], answer["raised"]
        return answer["stdout"], answer["stderr"]

    def command(self, *words, token: str | None = "writer") -> dict | str:
        """The report of `facemllm WORDS --json`, or, if it fails, its one line on stderr."""
        words = [*map(str, words), "--json"]
        report, error = self.run(f"from facemllm.cli import main; main({words!r})", token)
        return json.loads(report) if report else error

    def stop(self):
        self.process.kill()
        self.process.wait()


CLIENT = """
import contextlib, io, json, os, sys, traceback
for line in sys.stdin:
    asked, out, err = json.loads(line), io.StringIO(), io.StringIO()
    os.environ.pop("HF_TOKEN", None)
    os.environ.update({"HF_TOKEN": asked["token"]} if asked["token"] else {})
    raised = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exec(asked["code"], {})
        except BaseException:
            raised = traceback.format_exc()
    print(json.dumps({"stdout": out.getvalue(), "stderr": err.getvalue(), "raised": raised}), flush=True)
"""


def until(condition, seconds=60):
    """Wait for it; an AssertionError if it does not come."""
    for _ in range(int(seconds * 50)):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"{condition} did not come in {seconds} s")
