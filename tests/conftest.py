"""For every test and the processes it starts: offline, one thread each (tests run side by side), Ctrl-C is heard."""

import os
import signal

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so it is in a shell's background, and in all that starts there
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """The slow ones first: begun last, one of them would keep one process busy while the other has nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
