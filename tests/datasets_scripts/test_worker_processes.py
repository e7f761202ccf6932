"""Ctrl-C waits until a worker has what it needs to start."""

import signal
import threading

import pytest

from datasets_scripts.worker_processes import without_interrupts


@pytest.fixture
def other_thread():
    """A thread that takes this process's signals, as those of libraries do."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    yield thread
    ended.set()
    thread.join()


def test_ctrl_c_that_another_thread_takes_waits_for_the_end_of_the_block(other_thread):
    reached = []
    with pytest.raises(KeyboardInterrupt), without_interrupts():
        signal.pthread_kill(other_thread.ident, signal.SIGINT)
        threading.Event().wait(0.2)
        reached.append("the end")
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_thread_of_its_own_may_start_workers_too():
    started = []

    def start():
        with without_interrupts():
            started.append(True)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert started
