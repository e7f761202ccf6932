"""Configs of one reader are written together: each of its rows is read once, and the files are what they were."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from datasets_scripts.corpus.shards import plan_runs
from datasets_scripts.corpus.writing import write_corpus
from datasets_scripts.questions.conversations import AskedFaces
from datasets_scripts.schema import LabelledFace, Skipped
from tests.datasets_scripts.corpus.test_writing import contents

ABOUT = {"name": "People", "license": "cc0-1.0", "description": "People.", "progress": False, "shard_rows": 20}
CONFIGS = ("captions", "vqa", "face_tasks")


@dataclass(frozen=True)
class People:
    """`count` faces, every seventh missing; `log` has the index of each that was read, row `stumble` raises."""

    count: int
    log: str
    stumble: int | None = None

    def __len__(self):
        return self.count

    def describe(self):
        return {"count": self.count}

    def faces(self, start=0, stop=None):
        for index in range(start, stop):
            with open(self.log, "a") as log:
                log.write(f"{index}\n")
            if index == self.stumble:
                raise OSError(28, "No space left on device")
            yield Skipped(f"p/{index}", "missing image") if index % 7 == 3 else self.face(index)

    def face(self, index):
        labels = {"gender": ("female", "male")[index % 2], "age_group": "3-9"} if index % 5 else {}
        picture = Image.new("RGB", (8, 8), (index, 0, 0))
        return LabelledFace(f"p/{index}", picture, labels, "train", "people", "cc0-1.0", url=f"{index}.png")


def corpus(reader, configs=CONFIGS):
    return {config: {"train": AskedFaces(reader, config)} for config in configs}


def read_rows(log):
    return sorted(map(int, Path(log).read_text().split()))


@pytest.mark.parametrize("num_proc", [1, 2])
def test_each_row_is_read_once_for_all_configs(num_proc, tmp_path):
    reader = People(130, str(tmp_path / "log"))
    report = write_corpus(corpus(reader), tmp_path / "out", num_proc=num_proc, **ABOUT)
    assert read_rows(reader.log) == list(range(130)) and report["rows_written"] == 3 * 130


def test_the_rows_are_those_of_configs_that_are_written_alone(tmp_path):
    from pyarrow import parquet

    reader = People(130, str(tmp_path / "log"))
    together = write_corpus(corpus(reader), tmp_path / "out", **ABOUT)
    for config in CONFIGS:
        alone = write_corpus(corpus(reader, [config]), tmp_path / config, **ABOUT)
        assert alone["configs"][config] == together["configs"][config]
        for path in (tmp_path / config / config).glob("*.parquet"):
            assert parquet.read_table(path).equals(parquet.read_table(tmp_path / "out" / config / path.name))


def test_after_a_failure_only_what_is_missing_is_read_and_the_files_are_the_same(tmp_path):
    whole, broken, rest = (People(130, str(tmp_path / name)) for name in ("whole.log", "broken.log", "rest.log"))
    write_corpus(corpus(whole), tmp_path / "whole", **ABOUT)
    with pytest.raises(OSError, match="No space left"):
        write_corpus(corpus(People(130, broken.log, stumble=50)), tmp_path / "out", **ABOUT)
    finished = [path.relative_to(tmp_path / "out").parts[1:] for path in (tmp_path / "out").rglob("*.parquet")]
    assert sorted(finished) == sorted(
        (config, f"train-0000{number}.parquet") for config in CONFIGS for number in (0, 1)
    )
    assert not list((tmp_path / "out").rglob("*.partial"))
    (tmp_path / "out" / ".building" / "vqa" / "train-00000.parquet").unlink()  # as if a kill had come before its name
    write_corpus(corpus(rest), tmp_path / "out", **ABOUT)
    assert read_rows(rest.log) == [*range(20), *range(40, 130)]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_processor_and_a_process_for_every_shard_are_all_used(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    reader = People(40, "log")
    missing = [(AskedFaces(reader, config), config, [0, 1]) for config in CONFIGS]
    assert [len(plan_runs(missing, num_proc)) for num_proc in (1, 2, 5, 6)] == [1, 2, 2, 6]
