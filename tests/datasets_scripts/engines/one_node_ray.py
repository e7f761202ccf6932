"""A real Ray cluster of one node with two cores, for tests: its own processes, reached by address and token."""

import contextlib
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def one_node_ray(setenv: Callable[[str, str], None]) -> Iterator[str]:
    """Start the cluster and yield its address; programs started after `setenv` was called here hold its token."""
    setenv("RAY_AUTH_MODE", "token")
    setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    setenv("PYTHONPATH", str(ROOT))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("ray")
    command = [program, "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", f"--object-store-memory={2**27}"]
    cluster = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output = ""
        while "Ray runtime started" not in output:
            line = cluster.stdout.readline()
            assert line, f"Ray did not start: {output}"
            output += line
        yield f"127.0.0.1:{port}"
    finally:
        cluster.terminate()
        cluster.communicate(timeout=60)
