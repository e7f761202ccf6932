"""What a worker process needs so that it never outlives its parent and never gets Ctrl-C before it."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import FrameType


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Start workers in this block: Ctrl-C reaches them neither while they import nor later, and this process after it.

    A worker reads what it is to do from a pipe: interrupted half-way through writing that, it ends in a traceback.
    Workers inherit the mask. It does not keep Ctrl-C from this process, whose other threads may take it, so the
    handler waits as well.
    """
    waiting: list[int] = []
    main = _is_main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number)) if main else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if main:
            signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
            if waiting:
                signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def interrupting_this_process_alone() -> Iterator[None]:
    """Let `datasets` fork a pool of workers in this block: Ctrl-C ends it in `KeyboardInterrupt` and nothing else.

    Else each worker ends in a traceback, and this process in that of a time that ran out.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not _is_main_thread():
        yield
        return
    parent, interrupted = os.getpid(), []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != parent:
            _wait_for_the_end(parent, frame)
            return
        if _is_in("popen_fork", frame):  # what is raised there is printed and lost
            threading.Timer(0.1, os.kill, (parent, number)).start()
            return
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    shown = sys.unraisablehook  # it gets what a generator raises that is closed on the way out
    sys.unraisablehook = lambda found: None if interrupted else shown(found)
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except (Exception, KeyboardInterrupt):
        if not interrupted:
            raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = shown
    if interrupted:
        from multiprocess import active_children  # the multiprocessing of datasets

        for left in active_children():  # its queue's process: this one would wait for that at its end
            left.terminate()
        raise KeyboardInterrupt


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()  # no other thread is ever interrupted


def _wait_for_the_end(parent: int, frame: FrameType | None) -> None:
    """Let a pool's worker stand still until it is terminated: its pool would wait for a lock that it then held."""
    if not _is_in("queues", frame):
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)


def _is_in(module: str, frame: FrameType | None) -> bool:
    """Whether a function of `multiprocessing.MODULE`, or of the copy of it that `datasets` has, is being called."""
    names = (f"multiprocess.{module}", f"multiprocessing.{module}")
    while frame is not None and frame.f_globals.get("__name__") not in names:
        frame = frame.f_back
    return frame is not None


def follow_parent() -> None:
    """Call this first in a worker: Ctrl-C is left to the parent, and when the parent ends the worker ends too.

    A parent killed outright cannot tell its workers, which would go on working, or wait for work, for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the parent tells the workers to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def end_when_closed(parent_end: Connection) -> None:
    """End this worker at once when the parent closes its end of the pipe `parent_end` reads from.

    Only for work that loses nothing when it is killed. A `multiprocessing.Event` will not do: to set one waits for
    every process that waits for it, dead ones included.
    """
    threading.Thread(target=_end_when_closed, args=(parent_end,), daemon=True).start()


def message_of_dead_worker(fewer: str) -> str:
    """What to report when a worker ended without an error of its own; `fewer` is the remedy for want of memory.

    Workers are spawned: each imports the script that started them, and without a guard that starts workers again.
    """
    return (
        f"a worker process died: memory ran out (run the same command again with {fewer} to go on), or the Python "
        'script that called this has no guard (put the call under if __name__ == "__main__":)'
    )


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _end_when_closed(parent_end: Connection) -> None:
    parent_end.poll(None)
    os._exit(1)
