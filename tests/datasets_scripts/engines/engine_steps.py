"""datatrove steps for tests of the engines, in a module that a cluster's processes can import."""

import os
import signal
import sys
import time
from pathlib import Path

from datatrove.pipeline.base import PipelineStep

from datasets_scripts.schema import CorpusError

PHOTOGRAPH, PASSWORD = "/9j/4AAQSkZJRg" * 40, "hunter2"
TASKS = 4
ROWS = 3


class Journal(PipelineStep):
    """Adds `ROWS` lines `process row` to the file `out/rank`; a file in `orders` named as the rank says what
    goes wrong there: "fail", "show", "mistake", "kill" or "hang"."""

    name = "journal"
    type = "test"

    def __init__(self, out: str, orders: str = "", pause: float = 0.0):
        super().__init__()
        self.out = out
        self.orders = orders
        self.pause = pause

    def run(self, data, rank: int = 0, world_size: int = 1):
        order = Path(self.orders) / str(rank)
        match order.read_text() if self.orders and order.exists() else "":
            case "fail":
                raise RuntimeError("the disk\nis full")
            case "show":
                photograph, password = PHOTOGRAPH, PASSWORD
                raise RuntimeError(f"data:image/jpeg;base64,{photograph} of http://me:{password}@proxy:3128")
            case "mistake":
                raise CorpusError("no such annotator")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(600)
        sys.stderr.write("a library's warning\n")
        for row in range(ROWS):
            with open(Path(self.out) / str(rank), "a") as file:
                file.write(f"{os.getpid()} {row}\n")
            self.stat_update("rows")
            time.sleep(self.pause)
        return data


def journals(out: Path) -> dict[int, list[int]]:
    """The rows that each task wrote, in order."""
    files = [path for path in out.iterdir() if path.name.isdigit()]
    return {int(path.name): [int(line.split()[1]) for line in path.read_text().splitlines()] for path in files}


def processes(out: Path) -> set[int]:
    """Which processes wrote."""
    return {int(line.split()[0]) for path in out.iterdir() if path.name.isdigit() for line in path.open()}


EACH_ONCE = {rank: list(range(ROWS)) for rank in range(TASKS)}
