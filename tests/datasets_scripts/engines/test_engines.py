import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from datasets_scripts.engines.options import TasksUnfinished, engine_options
from datasets_scripts.engines.run import run_tasks
from datasets_scripts.engines.tasks import task_lock
from datasets_scripts.schema import CorpusError
from tests.datasets_scripts.engines.engine_steps import (
    EACH_ONCE,
    PASSWORD,
    PHOTOGRAPH,
    TASKS,
    Journal,
    journals,
    processes,
)
from tests.datasets_scripts.engines.one_node_ray import one_node_ray
from tests.datasets_scripts.engines.one_node_slurm import one_node_slurm, why_not

ROOT = Path(__file__).parents[3]

PROGRAM = """
import json, sys
from datasets_scripts.engines.run import run_tasks
from tests.datasets_scripts.engines.engine_steps import TASKS, Journal
if __name__ == "__main__":
    out, orders, pause, settings = sys.argv[1], sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4])
    run_tasks([Journal(out, orders, pause)], TASKS, out + "/.tasks", **settings)
"""


@pytest.fixture
def folders(tmp_path):
    out, orders = tmp_path / "out", tmp_path / "orders"
    out.mkdir()
    orders.mkdir()
    return out, orders


def run(folders, **settings):
    out, orders = folders
    run_tasks([Journal(str(out), str(orders))], TASKS, out / ".tasks", progress=False, **settings)


def start_program(folders, pause=0.0, **settings):
    """The same in a process of its own, which can be killed."""
    program = folders[0].parent / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), *map(str, folders), str(pause), json.dumps(settings)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_every_task_runs_once_and_never_again(folders):
    for workers in (1, 2):
        run(folders, workers=workers)
    assert journals(folders[0]) == EACH_ONCE
    (stats,) = json.loads((folders[0] / ".tasks/stats.json").read_text())
    assert stats["stats"]["rows"]["total"] == sum(map(len, EACH_ONCE.values()))


def test_only_the_bar_is_shown_and_it_counts_tasks(folders):
    _, shown = start_program(folders, workers=1).communicate(timeout=60)
    assert set(re.findall(r"(\S+)task/s|task", shown)) and f"{TASKS}/{TASKS}" in shown
    assert "PIPELINE" not in shown and "warning" not in shown
    logs = folders[0] / ".tasks/logs"
    assert "Processing done" in (logs / "task_00000.log").read_text()
    assert "a library's warning" in (logs / "task_00000.stderr").read_text()


def test_two_workers_do_the_same_and_show_nothing_when_no_progress_is_wanted(folders):
    assert start_program(folders, workers=2, progress=False).communicate(timeout=60)[1] == ""
    assert journals(folders[0]) == EACH_ONCE


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_failed_task_the_others_go_on_and_the_next_run_makes_it_good(folders, workers):
    order = folders[1] / "1"
    order.write_text("fail")
    with pytest.raises(
        CorpusError, match=r"\b1 of 4 tasks\b.*task 1\b.*RuntimeError: the disk is full\b.*\.tasks/logs\b.*again"
    ):
        run(folders, workers=workers)
    assert set(journals(folders[0])) == {0, 2, 3}
    order.unlink()
    run(folders)
    assert journals(folders[0]) == EACH_ONCE


@pytest.mark.parametrize("workers", [1, 2])
def test_no_file_and_no_message_shows_the_values_of_a_failed_task(folders, workers):
    (folders[1] / "1").write_text("show")
    with pytest.raises(CorpusError, match=r"base64,\[560 characters\] of http://\*\*\*@proxy:3128") as raised:
        run(folders, workers=workers)
    files = [path for path in (folders[0] / ".tasks").rglob("*") if path.is_file()]
    written = "".join(path.read_text(errors="replace") for path in files) + str(raised.value)
    assert "raise RuntimeError" in written  # where it failed is in the log
    assert PASSWORD not in written and PHOTOGRAPH[:40] not in written


def test_a_mistake_of_the_users_ends_the_run_at_once(folders):
    (folders[1] / "0").write_text("hang")
    (folders[1] / "1").write_text("mistake")
    with pytest.raises(CorpusError, match=r"^no such annotator$"):
        run(folders, workers=2)
    assert 0 not in journals(folders[0])


def begun_again(out):
    """The rows of the tasks that were cut off once and then done from the beginning to the end."""
    cut_off = [rows for rows in journals(out).values() if rows != EACH_ONCE[0]]
    assert all(rows[-3:] == EACH_ONCE[0] and rows[:-3] == list(range(len(rows) - 3)) for rows in cut_off)
    return cut_off


def test_a_worker_that_dies_is_named_and_its_work_is_made_good(folders):
    order = folders[1] / "1"
    order.write_text("kill")
    with pytest.raises(CorpusError, match=r"process died\b.*fewer workers"):
        run(folders, workers=2)
    order.unlink()
    run(folders)
    assert journals(folders[0]).keys() == EACH_ONCE.keys()
    assert len(begun_again(folders[0])) <= 1  # what the other worker was at: it ends with the pool


def test_a_kill_ends_the_workers_and_the_next_run_works_beside_none(folders):
    parent = start_program(folders, pause=0.5, workers=2, progress=False)
    wait_for(lambda: len(processes(folders[0])) == 2)
    parent.kill()
    orphans = processes(folders[0])
    run(folders)  # at once: it waits for the locks that dying workers hold
    assert not any(map(is_alive, orphans))
    assert len(begun_again(folders[0])) <= 2


def test_ctrl_c_ends_the_workers(folders):
    (folders[1] / "3").write_text("hang")
    parent = start_program(folders, pause=0.3, workers=2, progress=False)
    wait_for(lambda: len(processes(folders[0])) == 2)
    parent.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in parent.communicate(timeout=30)[1]
    wait_for(lambda: not any(map(is_alive, processes(folders[0]))), 5)


def test_a_task_that_another_process_holds_is_not_begun(tmp_path):
    path = tmp_path / "00007"
    with (
        task_lock(path),
        pytest.raises(CorpusError, match=rf"00007\b.*process {os.getpid()}\b.*wait for it, or end it"),
        task_lock(path, patience=0.2),
    ):
        raise AssertionError("two hold the lock")
    with task_lock(path, patience=0.0):
        pass


def test_a_folder_of_another_number_of_tasks_is_refused(folders):
    run(folders)
    with pytest.raises(CorpusError, match=r"\.tasks\b.*\b4 tasks\b.*\b5\b.*delete the folder"):
        run_tasks([Journal(str(folders[0]))], 5, folders[0] / ".tasks", progress=False)


def test_slurm_without_its_commands_or_cluster_is_named_within_seconds(folders, tmp_path, monkeypatch):
    settings = {"engine": "slurm", "options": {"partition": "cpu", "poll_seconds": 0.2}}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match=r"slurm\b.*\bsbatch\b.*login node"):
        run(folders, **settings)
    assert not (folders[0] / ".tasks").exists()
    for name in ("sbatch", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\necho Unable to contact slurm controller >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    began = time.monotonic()
    with pytest.raises(CorpusError, match=r"squeue\b.*Unable to contact slurm controller\b.*again"):
        run(folders, **settings)
    assert time.monotonic() - began < 2


def test_options_are_checked_and_may_be_text():
    options = engine_options(
        "slurm", {"partition": "cpu", "cpus_per_task": "2", "wait": "false", "sbatch_args": "a=b"}
    )
    assert (options.cpus_per_task, options.wait, options.sbatch_args) == (2, False, {"a": "b"})
    assert engine_options("ray", {"mem_per_cpu_gb": "1.5"}).mem_per_cpu_gb == 1.5
    for engine, given, named in [
        ("slurm", {}, r"slurm\b.*\bpartition\b"),
        ("slurm", {"partition": "cpu", "cpus_per_task": "many"}, r"cpus_per_task=many.*\bint\b"),
        ("slurm", {"partition": "cpu", "cpus_per_task": 1.5}, r"cpus_per_task=1\.5\b.*\bint\b"),
        ("slurm", {"partition": "cpu", "wait": "maybe"}, r"wait=maybe.*\bbool\b"),
        ("local", {"memory": 1}, r"memory=1.*\blocal\b.*no options"),
    ]:
        with pytest.raises(CorpusError, match=named):
            engine_options(engine, given)


@pytest.fixture
def ray_address(monkeypatch):
    with one_node_ray(monkeypatch.setenv) as address:
        yield address


@pytest.mark.slow
def test_ray_names_what_failed_and_goes_on(folders, ray_address):
    settings = {"engine": "ray", "workers": 2, "progress": False, "options": {"address": ray_address}}
    for rank, order in {1: "fail", 2: "kill"}.items():
        (folders[1] / str(rank)).write_text(order)
    shown = start_program(folders, **settings).communicate(timeout=120)[1]
    assert "CorpusError: 2 of 4 tasks failed, task 1 with: RuntimeError: the disk is full" in shown
    for order in folders[1].iterdir():
        order.unlink()
    settings["options"] = {}  # without an address: a cluster of its own, also where another one runs
    assert "CorpusError" not in start_program(folders, **settings).communicate(timeout=120)[1]
    assert journals(folders[0]) == EACH_ONCE


@pytest.fixture
def slurm_cluster(monkeypatch):
    if why_not():
        pytest.skip(why_not())
    with tempfile.TemporaryDirectory() as folder, one_node_slurm(Path(folder)) as configuration:
        monkeypatch.setenv("SLURM_CONF", configuration)
        yield


@pytest.mark.slow
def test_slurm_names_what_failed_and_goes_on(folders, slurm_cluster, monkeypatch):
    monkeypatch.setattr("datasets_scripts.engines.slurm.SETTLE_SECONDS", 2.0)  # no network file system here
    settings = {
        "engine": "slurm",
        "workers": 2,
        "options": {"partition": "cpu", "mem_per_cpu_gb": 1, "poll_seconds": 0.5},
    }
    for rank, order in {1: "fail", 2: "kill"}.items():
        (folders[1] / str(rank)).write_text(order)
    with pytest.raises(CorpusError, match=r"\b2 of 4 tasks\b.*task 1\b.*RuntimeError: the disk is full\b.*again"):
        run(folders, **settings)
    for order in folders[1].iterdir():
        order.unlink()
    run(folders, **settings)
    assert journals(folders[0]) == EACH_ONCE


@pytest.mark.slow
def test_slurm_jobs_outlive_who_submitted_them_and_are_found_again(folders, slurm_cluster):
    settings = {
        "engine": "slurm",
        "workers": 2,
        "options": {"partition": "cpu", "mem_per_cpu_gb": 1, "poll_seconds": 0.5},
    }
    parent = start_program(folders, pause=1.0, progress=False, **settings)
    wait_for(lambda: processes(folders[0]))
    parent.kill()
    with pytest.raises(TasksUnfinished, match=r"\bof 4 tasks\b.*Slurm\b.*facemllm-"):
        run(folders, engine="slurm", workers=2, options={**settings["options"], "wait": False})
    run(folders, **settings)
    assert journals(folders[0]) == EACH_ONCE
