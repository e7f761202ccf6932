"""For every test and the processes it starts: offline, one thread each (tests run side by side), Ctrl-C ends them."""

import os
import signal

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so it is in a shell's background, and in all that starts there
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """The slow ones first: begun last, one of them would keep one process busy while the other has nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A Hub on loopback, in a process of its own."""
    from tests.facemllm.publishing.hub_process import HubProcess

    hub = HubProcess(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.stop()


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    """A process that may write to that Hub and knows no other."""
    from tests.facemllm.publishing.hub_process import ClientProcess

    client = ClientProcess(hub.environment(tmp_path_factory.mktemp("home")))
    yield client
    client.stop()
