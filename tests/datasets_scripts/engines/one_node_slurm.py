"""A real Slurm cluster of one node, for tests: munged, slurmctld and slurmd as children of the test.

Needs Slurm's programs (Debian: `apt-get install slurm-wlm munge`) and root, for slurmd starts jobs as their user.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("sbatch", "squeue", "slurmctld", "slurmd", "munged")

CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
MinJobAge=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2048
PartitionName=cpu Nodes=ALL Default=YES State=UP
"""


def why_not() -> str:
    """Why no cluster can be had here; empty where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no Slurm on this machine ({', '.join(missing)} missing): apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd must run as root"


@contextlib.contextmanager
def one_node_slurm(folder: Path) -> Iterator[str]:
    """Start the cluster and yield the path of its `slurm.conf`, for `SLURM_CONF`. `folder`: short, empty."""
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key, configuration = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    ports = {"controller_port": _free_port(), "node_port": _free_port()}
    host = socket.gethostname().split(".")[0]
    configuration.write_text(CONFIGURATION.format(host=host, folder=folder, **ports))
    munge_files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munged.pid"}
    munge_files |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
    munge = ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in munge_files.items())]
    with contextlib.ExitStack() as stack:
        _start(stack, munge, folder)
        _until((folder / "munge.socket").exists, "munged")
        _start(stack, ["slurmctld", "-D", "-f", str(configuration)], folder)
        _start(stack, ["slurmd", "-D", "-f", str(configuration)], folder)
        environment = {**os.environ, "SLURM_CONF": str(configuration)}
        state = ["sinfo", "--noheader", "--format=%T"]
        _until(lambda: "idle" in subprocess.run(state, env=environment, capture_output=True, text=True).stdout, "node")
        yield str(configuration)


def _start(stack: contextlib.ExitStack, command: list[str], folder: Path) -> None:
    with open(folder / f"{command[0]}.out", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)


def _until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 30
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} of the one-node Slurm cluster did not start")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
