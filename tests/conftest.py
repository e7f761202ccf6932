"""For every test and the processes it starts: offline, and one thread each, since tests run side by side."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_collection_modifyitems(items):
    """The slow ones first: begun last, one of them would keep one process busy while the other has nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
