"""What must outlive a kill or a full disk: atomic writes, locks and journals."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from operator import itemgetter

import pytest

from datasets_scripts.files import (
    Busy,
    Journal,
    alone,
    differences,
    is_locked,
    lock,
    read_claim,
    read_json,
    replacing,
    replacing_folder,
    write_json,
    writer_of,
)


def run_program(program, folder):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=folder, capture_output=True, text=True)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.json") as file:
        file.write(b"half")
        raise RuntimeError
    assert read_json(tmp_path / "a.json") == {"old": 1} and len(list(tmp_path.iterdir())) == 1


def test_no_file_is_none_and_a_broken_one_names_itself(tmp_path):
    assert read_json(tmp_path / "a.json") is None
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_a_lock_is_one_process_alone_and_goes_with_it(tmp_path):
    killed = """
        import os
        from datasets_scripts.files import lock
        with lock("l"):
            os.kill(os.getpid(), 9)
    """
    refused = """
        from datasets_scripts.files import Busy, lock
        try:
            lock("l").__enter__()
        except Busy as error:
            print(error.holder)
    """
    with lock(tmp_path / "l"):
        assert is_locked(tmp_path / "l")
        assert run_program(refused, tmp_path).stdout.startswith(f"process {os.getpid()} on ")
    assert run_program(killed, tmp_path).returncode == -signal.SIGKILL
    assert not is_locked(tmp_path / "l")
    with lock(tmp_path / "l"):
        pass


def test_the_error_of_a_held_lock_comes_back_from_a_worker_process():
    error = pickle.loads(pickle.dumps(Busy("l", "process 1 on host")))
    assert (error.filename, error.holder) == ("l", "process 1 on host")


def test_a_journal_gives_back_what_was_appended_before_a_kill_and_cuts_a_torn_line(tmp_path):
    program = """
        import os
        from datasets_scripts.files import Journal
        journal = Journal("j")
        journal.append({"a": 1}, {"b": "ö"})
        with open("j", "ab") as torn:
            torn.write(b'{"torn":')
        os.kill(os.getpid(), 9)
    """
    assert run_program(program, tmp_path).returncode == -signal.SIGKILL
    with Journal(tmp_path / "j") as journal:
        assert list(journal.entries()) == [{"a": 1}, {"b": "ö"}]
        journal.append(3)
        assert list(journal.entries())[2:] == [3]
        assert [(journal.read(place), entry) for entry, place in journal.places()][1:] == [({"b": "ö"},) * 2, (3, 3)]
        with pytest.raises(Busy):
            Journal(tmp_path / "j")


def test_a_journal_on_a_full_disk_holds_nothing_of_the_entry(tmp_path):
    program = """
        import resource, signal
        from datasets_scripts.files import Journal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        journal = Journal("j")
        journal.append("x" * 500)
        try:
            journal.append("y" * 900)
        except OSError as error:
            print(len(list(journal.entries())), journal.path.stat().st_size, error.filename)
    """
    assert run_program(program, tmp_path).stdout == "1 503 j\n"


def test_a_line_that_is_no_json_is_named(tmp_path):
    (tmp_path / "j").write_text('{"a": 1}\nx\n')
    with Journal(tmp_path / "j") as journal, pytest.raises(ValueError, match=r"\bj, line 2\b"):
        list(journal.entries())


def test_three_differences_at_most_are_shown_by_name():
    found, wanted = (
        {"a": 1, "b": {"c": 2, "d": [1]}, "e": 0, "f": 0},
        {"a": 2, "b": {"c": 3, "d": (1,)}, "e": 1, "f": 1},
    )
    assert differences(found, wanted) == ["a: 1 there, 2 now", "b.c: 2 there, 3 now", "e: 0 there, 1 now"]


def test_a_difference_at_the_end_of_a_long_value_in_a_list_is_shown():
    found, wanted = ({"data": [{"path": f"/a/very/long/path/of/folders/to/corpora/{name}"}]} for name in "xy")
    (line,) = differences(found, wanted)
    assert line == "data.0.path: /folders/to/corpora/x there, /folders/to/corpora/y now"


def test_a_name_that_is_no_utf_8_comes_back_as_it_was(tmp_path):
    write_json(tmp_path / "a.json", {"é": "caf\udce9"})
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"é": "caf\udce9"}


def test_a_claim_is_the_record_of_the_same_settings_only(tmp_path):
    path, settings = tmp_path / "run.json", {"size": (1, 2), "out": tmp_path}
    assert read_claim(path, settings) is None
    write_json(path, {"settings": settings, "done": 3})
    assert read_claim(path, settings, itemgetter("settings"))["done"] == 3
    with pytest.raises(ValueError, match=r"run\.json.*size: \[1, 2\].* 5\b"):
        read_claim(path, {**settings, "size": 5}, itemgetter("settings"))
    with pytest.raises(ValueError, match=r"run\.json.*\bsettings\b"):
        read_claim(path, settings, itemgetter("plan"))


def test_a_journal_that_belongs_to_others_is_not_changed(tmp_path):
    def claim():
        raise ValueError

    (tmp_path / "notes").write_text("one\ntwo")
    with pytest.raises(ValueError):
        Journal(tmp_path / "notes", claim)
    assert (tmp_path / "notes").read_text() == "one\ntwo"


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").touch()
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "a") as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "old"]
    with replacing_folder(tmp_path / "a") as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "new"]


def test_a_folder_whose_replacement_was_killed_in_between_comes_back(tmp_path):
    program = """
        import os
        from datasets_scripts import files
        replace = os.replace
        def killed(source, target):
            if str(target) == "a":
                os.kill(os.getpid(), 9)
            replace(source, target)
        os.replace = killed
        with files.replacing_folder("a"):
            pass
    """
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").touch()
    assert run_program(program, tmp_path).returncode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "a"):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "old"]


def test_a_child_that_gets_the_lock_file_holds_it_and_is_named(tmp_path):
    with lock(tmp_path / "l") as file:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(file.fileno(),))
        file.write(f"child {child.pid}\n")
    with pytest.raises(Busy, match=f"child {child.pid}"), lock(tmp_path / "l"):
        pass
    child.communicate(b"\n")
    with lock(tmp_path / "l"):
        pass


def test_an_output_is_written_by_one_process_which_is_named_and_leaves_no_lock(tmp_path):
    refused = """
        from datasets_scripts.files import Busy, alone, writer_of
        print(writer_of("made/out"))
        try:
            alone("made/out", patience=0.0).__enter__()
        except Busy as error:
            print(error.holder)
    """
    with alone(tmp_path / "made" / "out"):
        (tmp_path / "made" / "file").touch()
        assert run_program(refused, tmp_path).stdout.splitlines() == [f"process {os.getpid()} on {os.uname()[1]}"] * 2
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "file"]
    with alone(tmp_path / "made", beside=True), alone(tmp_path / "made"):
        assert writer_of(tmp_path / "made", beside=True) and writer_of(tmp_path / "made")
    assert writer_of(tmp_path / "made") is None and len(list(tmp_path.rglob("*"))) == 2


def test_a_process_that_waited_holds_the_file_that_has_the_name(tmp_path):
    waiting = """
        import os
        from datasets_scripts.files import alone, writer_of
        print("ready", flush=True)
        with alone("out", patience=30.0):
            print(writer_of("out"), os.path.exists("out/.lock"))
    """
    words = {"cwd": tmp_path, "stdout": subprocess.PIPE, "text": True}
    with alone(tmp_path / "out"):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(waiting)], **words)
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
    assert process.communicate(timeout=60)[0] == f"process {process.pid} on {os.uname()[1]} True\n"


def test_a_killed_writers_forked_children_do_not_hold_its_output(tmp_path):
    program = """
        import os, time
        from datasets_scripts.files import alone
        with alone("out"):
            if not (child := os.fork()):
                os.close(1); os.close(2); time.sleep(60)
            print(child, flush=True)
            time.sleep(0.3)
            os.kill(os.getpid(), 9)
    """
    done = run_program(program, tmp_path)
    assert done.returncode == -signal.SIGKILL
    try:
        with alone(tmp_path / "out", patience=0.0):
            pass
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)
