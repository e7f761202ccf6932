"""What a worker process needs so that it never outlives its parent and never gets Ctrl-C before it."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Start workers in this block: Ctrl-C reaches them neither while they import nor later, and this process after it.

    A worker reads what it is to do from a pipe: interrupted half-way through writing that, it ends in a traceback.
    Workers inherit the mask. It does not keep Ctrl-C from this process, whose other threads may take it, so the
    handler waits as well.
    """
    waiting: list[int] = []
    main = threading.current_thread() is threading.main_thread()  # no other thread is ever interrupted
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
