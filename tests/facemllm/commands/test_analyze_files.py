"""`facemllm analyze`: what it writes outlives a kill and a full disk, and has one writer."""

import fcntl
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from facemllm.analysis.journal import FaceJournal
from tests.facemllm.commands.rows import read, spoil
from tests.full_disk import files_of_at_most


def test_a_torn_file_goes_on_as_if_it_had_never_been_torn(analyze, photos, tmp_path):
    out = tmp_path / "faces.jsonl"
    analyze(photos, "--out", out)
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) // 2])
    assert analyze(photos, "--out", out)[0] == 0
    assert out.read_bytes() == whole


def test_another_process_on_the_same_file_is_refused(analyze, photos, tmp_path):
    with open(tmp_path / "faces.jsonl", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        locked = subprocess.run(
            [sys.executable, "-c", _JOURNAL, str(tmp_path / "faces.jsonl")], capture_output=True, text=True
        )
    assert re.search(r"faces\.jsonl\b.*wait for it, or give another", locked.stderr)


_JOURNAL = "import sys; from facemllm.analysis.journal import FaceJournal; FaceJournal(sys.argv[1], {})"


def test_a_full_disk_is_one_line_and_leaves_whole_rows(analyze, photos, tmp_path):
    out = tmp_path / "faces.jsonl"
    for number in range(14):
        shutil.copy(photos / "face1.jpg", photos / f"more{number}.jpg")
    with files_of_at_most(6000):
        rc, _, err = analyze(photos, "--out", out)
    assert rc == 2
    assert "the same command goes on" in err.splitlines()[-1]
    assert 0 < len(read(out)) < 20
    assert analyze(photos, "--out", out)[0] == 0
    assert len(read(out)) == 20


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_file(analyze, photos, faces, tiny_model, tmp_path):
    for index in range(150):
        (photos / f"more{index}.jpg").write_bytes(faces[index % 6])
    spoil(photos / "more7.jpg")
    out, whole = tmp_path / "faces.jsonl", tmp_path / "whole.jsonl"
    command = [sys.executable, "-m", "facemllm", "analyze", str(tiny_model), str(photos), "--out", str(out)]
    run = subprocess.Popen([*command, "--detector", "none", "--device", "cpu"], stderr=subprocess.DEVNULL)
    while not (out.exists() and out.read_bytes().count(b"\n") >= 20):
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert out.read_bytes().count(b"\n") < 156
    assert analyze(photos, "--out", out)[0] == 1
    analyze(photos, "--out", whole)
    assert out.read_bytes() == whole.read_bytes()


def test_a_journal_that_somebody_wrote_into_is_refused(tmp_path):
    with FaceJournal(tmp_path / "faces.jsonl", {"tasks": None}) as journal:
        journal.append({"image": "a.jpg", "frame": 0, "faces": [], "error": ""})
    shutil.copy(tmp_path / "faces.jsonl", tmp_path / "kept")
    with open(tmp_path / "faces.jsonl", "a") as file:
        file.write("a note\n")
    with pytest.raises(ValueError, match=r"faces\.jsonl, line 2\b.*remove that line, or give another --out"):
        FaceJournal(tmp_path / "faces.jsonl", {"tasks": None})
