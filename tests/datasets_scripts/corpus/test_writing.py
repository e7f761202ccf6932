"""A corpus in a folder: it loads in a stranger's process, is the same however it was built, and survives a kill."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from pyarrow import parquet

from datasets_scripts.corpus.writing import code_fingerprint, write_corpus
from datasets_scripts.laion_face.records import AnsweredLaionFaces
from datasets_scripts.questions.conversations import AskedFaces
from datasets_scripts.schema import CorpusError, NothingUsable, Skipped, assistant_turn, make_record, user_turn
from tests.refusals import refuses

ROOT = Path(__file__).parents[3]
ABOUT = {"name": "Squares", "license": "cc0-1.0", "description": "Coloured squares.", "progress": False}


@dataclass(frozen=True)
class Squares:
    """`count` coloured squares, every seventh missing; row `stumble` raises, `die` kills, `pause` is slow."""

    count: int
    stumble: int | None = None
    die: int | None = None
    pause: float = 0.0
    seed: int = 0
    race: str | None = None

    def __len__(self):
        return self.count

    def records(self, start, stop):
        for index in range(start, stop):
            time.sleep(self.pause)
            if index == self.stumble:
                raise OSError(28, "No space left on device")
            if index == self.die:
                os.kill(os.getpid(), signal.SIGKILL)
            yield Skipped(f"squares/{index}", "missing image") if index % 7 == 3 else self.record(index)

    def record(self, index):
        return make_record(
            id=f"squares/{index}",
            image=Image.new("RGB", (8, 8), (index % 256, self.seed, 0)),
            url=f"{index}.png",
            messages=[user_turn("How much red?", image=True), assistant_turn(str(index % 256))],
            task="vqa",
            labels={"attributes": {"red": str(index % 256)}, "race": self.race},
            split="train",
            source="squares",
            license="cc0-1.0",
        )

    def describe(self):
        return {"seed": self.seed}


def corpus(source):
    return {"vqa": {"train": source, "validation": Squares(5)}, "face_tasks": {"train": Squares(30)}}


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def in_a_fresh_process(code, cwd):
    """Run code that finds the installed packages only, none of this repository's."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "cache")}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    run = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_load_dataset_reads_the_folder_in_a_fresh_process(tmp_path):
    write_corpus(corpus(Squares(100)), tmp_path / "out", shard_rows=40, **ABOUT)
    code = """
        from datasets import Image, load_dataset
        rows = load_dataset("out", "vqa")
        assert rows["train"].features["image"] == Image()
        assert rows["train"][5]["image"].getpixel((0, 0)) == (6, 0, 0), rows["train"][5]
        assert rows["train"][5]["messages"][0]["content"][0] == {"type": "image", "text": None}
        assert rows["train"][5]["labels"]["attributes"] == [{"name": "red", "value": "6"}]
        print(rows["train"].num_rows, rows["validation"].num_rows)
        print(load_dataset("out", "face_tasks", split="train").num_rows)
    """
    assert in_a_fresh_process(code, tmp_path) == ["86", "4", "26"]


def test_load_dataset_streams_the_folder_in_a_fresh_process(tmp_path):
    write_corpus(corpus(Squares(100)), tmp_path / "out", shard_rows=40, **ABOUT)
    code = """
        from datasets import load_dataset
        rows = load_dataset("out", "vqa", split="train", streaming=True)
        assert next(iter(rows.skip(3)))["id"] == "squares/4"
        print(sum(row["image"].size == (8, 8) for row in rows), rows.num_shards)
    """
    assert in_a_fresh_process(code, tmp_path) == ["86", "3"]


def test_the_files_are_the_same_for_any_number_of_processes(tmp_path):
    one = write_corpus(corpus(Squares(100)), tmp_path / "one", shard_rows=20, num_proc=1, **ABOUT)
    three = write_corpus(corpus(Squares(100)), tmp_path / "three", shard_rows=20, num_proc=3, **ABOUT)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert one["rows_written"] == three["rows_written"] == 135


def test_what_was_left_out_is_counted_in_the_report_and_the_card(tmp_path):
    report = write_corpus(corpus(Squares(100)), tmp_path / "out", **ABOUT)
    train = report["configs"]["vqa"]["train"]
    assert (train["rows"], train["skipped"]) == (86, {"missing image": 14})
    assert "- vqa, train: missing image: 14" in (tmp_path / "out" / "README.md").read_text()


def test_plain_iterables_and_functions_are_written_too(tmp_path):
    records = [Squares(30).record(index) for index in range(30)]
    sources = {"vqa": {"train": records, "validation": lambda: iter(records[:3])}}
    report = write_corpus(sources, tmp_path / "out", shard_rows=8, **ABOUT)
    assert {split: counted["rows"] for split, counted in report["configs"]["vqa"].items()} == {
        "train": 30,
        "validation": 3,
    }
    assert len(list((tmp_path / "out").glob("vqa/train-*-of-00004.parquet"))) == 4


@pytest.mark.parametrize("name", ["README.md", "corpus.json"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_of_somebody_else_is_neither_replaced_nor_removed(name, overwrite, tmp_path):
    for text in ("{}", '{"settings": {}}', "[1]"):
        (tmp_path / name).write_text(text)
        with pytest.raises(CorpusError, match=rf"{name}\b.*another folder"):
            write_corpus(corpus(Squares(8)), tmp_path, overwrite=overwrite, **ABOUT)
        assert contents(tmp_path) == {name: hashlib.sha256(text.encode()).hexdigest()}


def test_a_full_disk_leaves_no_half_shard_and_no_card(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        write_corpus(corpus(Squares(100, stumble=50)), tmp_path / "out", shard_rows=20, **ABOUT)
    assert not (tmp_path / "out" / "README.md").exists()
    kept = sorted(path.name for path in (tmp_path / "out").rglob("*.parquet"))
    assert kept == ["train-00000.parquet", "train-00001.parquet"]
    assert not list((tmp_path / "out").rglob("*.partial"))


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_call_goes_on_after_a_failure_and_ends_as_if_there_had_been_none(tmp_path, stream):
    def sources(**trouble):
        source = Squares(100, **trouble)
        return {"vqa": {"train": (lambda: source.records(0, 100)) if stream else source}}

    settings = {**ABOUT, "shard_rows": 20, "build": {"seed": 0}}
    write_corpus(sources(), tmp_path / "whole", **settings)
    with pytest.raises(OSError, match="No space left"):
        write_corpus(sources(stumble=50), tmp_path / "out", **settings)
    assert write_corpus(sources(), tmp_path / "out", **settings)["rows_written"] == 60
    assert contents(tmp_path / "whole") == contents(tmp_path / "out")


def test_a_worker_that_dies_is_told_and_its_work_is_made_up_for_later(tmp_path):
    with pytest.raises(CorpusError, match=r"process died.*smaller num_proc"):
        write_corpus(corpus(Squares(100, die=70)), tmp_path / "out", shard_rows=20, num_proc=2, **ABOUT)
    assert not (tmp_path / "out" / "README.md").exists()
    write_corpus(corpus(Squares(100)), tmp_path / "out", shard_rows=20, **ABOUT)
    write_corpus(corpus(Squares(100)), tmp_path / "whole", shard_rows=20, **ABOUT)
    assert contents(tmp_path / "whole") == contents(tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's children from /proc")
def test_a_build_that_was_killed_ends_its_workers_and_goes_on_where_it_was(tmp_path):
    code = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.datasets_scripts.corpus.test_writing import ABOUT, Squares, write_corpus
        write_corpus({{"vqa": {{"train": Squares(2000, pause=0.02)}}}}, "out", shard_rows=10, num_proc=2, **ABOUT)
    """
    builder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("out/.building/vqa/train-*.parquet"))) >= 3)
    children = Path(f"/proc/{builder.pid}/task/{builder.pid}/children").read_text().split()
    builder.kill()
    builder.wait()
    assert len(children) >= 2
    wait_for(lambda: not any(is_running(child) for child in children))

    finished = len(list(tmp_path.glob("out/.building/vqa/train-*.parquet")))
    assert 3 <= finished < 200 and not (tmp_path / "out" / "README.md").exists()
    sources = {"vqa": {"train": Squares(2000)}}
    report = write_corpus(sources, tmp_path / "out", shard_rows=10, **ABOUT)
    assert report["rows_written"] == 2000 - 10 * finished
    write_corpus(sources, tmp_path / "whole", shard_rows=10, **ABOUT)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_kill_between_moving_the_shards_and_writing_the_card_is_made_good(tmp_path):
    write_corpus(corpus(Squares(100)), tmp_path / "whole", shard_rows=20, **ABOUT)
    with pytest.raises(OSError, match="No space left"):
        write_corpus(corpus(Squares(100, stumble=99)), tmp_path / "out", shard_rows=20, **ABOUT)
    (tmp_path / "out" / "vqa").mkdir()
    moved = tmp_path / "out" / "vqa" / "train-00000-of-00005.parquet"
    (tmp_path / "out" / ".building" / "vqa" / "train-00000.parquet").rename(moved)
    report = write_corpus(corpus(Squares(100)), tmp_path / "out", shard_rows=20, **ABOUT)
    assert report["rows_written"] == 20 + 5 + 30
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_complete_corpus_is_not_written_again(tmp_path):
    first = write_corpus(corpus(Squares(100)), tmp_path / "out", **ABOUT)
    again = write_corpus(corpus(Squares(100)), tmp_path / "out", **ABOUT)
    assert again["rows_written"] == 0 and again["configs"] == first["configs"]


@pytest.mark.parametrize("damage", [lambda shard: shard.unlink(), lambda shard: os.truncate(shard, 500)])
def test_a_shard_that_was_lost_is_written_again(damage, tmp_path):
    write_corpus(corpus(Squares(100)), tmp_path / "out", shard_rows=40, **ABOUT)
    whole = contents(tmp_path / "out")
    damage(tmp_path / "out/vqa/train-00001-of-00003.parquet")
    report = write_corpus(corpus(Squares(100)), tmp_path / "out", shard_rows=40, **ABOUT)
    assert report["rows_written"] == 40 and contents(tmp_path / "out") == whole


def test_other_settings_are_refused_by_name_unless_overwriting(tmp_path):
    write_corpus(corpus(Squares(100)), tmp_path / "out", shard_rows=20, **ABOUT)
    message = r"shard_rows: 20\b.* 30\b.*sources\.vqa\.train\.seed: 0\b.* 1\b.*another folder.*--overwrite"
    with pytest.raises(CorpusError, match=message):
        write_corpus(corpus(Squares(100, seed=1)), tmp_path / "out", shard_rows=30, **ABOUT)
    write_corpus({"vqa": {"train": Squares(100, seed=1)}}, tmp_path / "out", shard_rows=30, overwrite=True, **ABOUT)
    left = sorted(path.name for path in (tmp_path / "out").rglob("*.parquet"))
    assert left == [f"train-{index:05d}-of-00004.parquet" for index in range(4)]


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(CorpusError, match=r"README\.md\b.*another folder"):
            write_corpus(corpus(Squares(100)), tmp_path, overwrite=overwrite, **ABOUT)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_split_without_a_usable_row_is_refused_and_tried_afresh_later(tmp_path):
    @dataclass(frozen=True)
    class Missing(Squares):
        def records(self, start, stop):
            return (Skipped(str(index), "missing image") for index in range(start, stop))

    with pytest.raises(NothingUsable, match=r"vqa/train\b.*missing image: 10\b"):
        write_corpus({"vqa": {"train": Missing(10)}}, tmp_path / "out", **ABOUT)
    assert (
        write_corpus({"vqa": {"train": Squares(10)}}, tmp_path / "out", **ABOUT)["configs"]["vqa"]["train"]["rows"]
        == 9
    )


def test_a_source_that_ends_early_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Short(Squares):
        def records(self, start, stop):
            return super().records(start, min(stop, 25))

    with pytest.raises(CorpusError, match=r"vqa\b.*\brow 40\b.*__len__"):
        write_corpus({"vqa": {"train": Short(40)}}, tmp_path / "out", shard_rows=10, **ABOUT)


def test_images_can_be_left_out_where_a_url_names_them(tmp_path):
    write_corpus({"vqa": {"train": Squares(10)}}, tmp_path / "out", include_images=False, **ABOUT)
    rows = parquet.read_table(tmp_path / "out" / "vqa" / "train-00000-of-00001.parquet").to_pylist()
    assert {row["image"] for row in rows} == {None} and rows[0]["url"] == "0.png"
    nowhere = {**Squares(1).record(0), "url": None}
    with pytest.raises(CorpusError, match=r"record squares/0\b.*\bimage\b.*\burl\b"):
        write_corpus({"vqa": {"train": [nowhere]}}, tmp_path / "other", include_images=False, **ABOUT)


def test_a_shard_is_read_in_row_groups(tmp_path):
    write_corpus({"vqa": {"train": Squares(1000)}}, tmp_path / "out", **ABOUT)
    shard = parquet.ParquetFile(tmp_path / "out" / "vqa" / "train-00000-of-00001.parquet")
    assert shard.num_row_groups > 5


def test_the_card_warns_of_people_and_of_race_where_they_occur(tmp_path):
    write_corpus({"vqa": {"train": Squares(10)}}, tmp_path / "drawn", people=False, **ABOUT)
    write_corpus({"vqa": {"train": Squares(10, race="White")}}, tmp_path / "people", people=True, **ABOUT)
    drawn, people = ((tmp_path / name / "README.md").read_text() for name in ("drawn", "people"))
    assert "biometric" in people and "Article 5" in people
    assert "biometric" not in drawn and "Article 5" not in drawn


@pytest.mark.parametrize("include_images", [True, False])
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**Squares(1).record(0), "task": None}, r"squares/0\b.*task = None.*non-empty string"),
        ({**Squares(1).record(0), "image": b"123"}, r"squares/0\b.*image = 'bytes'.*PIL image"),
        ({"image": None}, r"\bid None\b.*non-empty string"),
        ("garbage", r"record = 'garbage'.*make_record"),
    ],
)
def test_an_unsound_record_is_refused_before_it_is_written(record, message, include_images, tmp_path):
    with pytest.raises(CorpusError, match=message):
        write_corpus({"vqa": {"train": [record]}}, tmp_path / "out", include_images=include_images, **ABOUT)
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({}, r"give at least one config\b.*\bsplit\b"),
        ({"vqa": {}}, r"give at least one config\b.*\bsplit\b"),
        ({"v/qa": {"train": Squares(1)}}, r"'v/qa'.*letters, digits and _"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, sources, message):
    with pytest.raises(CorpusError, match=message):
        write_corpus(sources, tmp_path / "out", **ABOUT)


@pytest.mark.parametrize("argument", ["num_proc", "shard_rows"])
def test_wrong_numbers_are_refused(tmp_path, argument):
    with refuses(argument, 0, "1 or more"):
        write_corpus({"vqa": {"train": Squares(1)}}, tmp_path / "out", **{argument: 0}, **ABOUT)


def build_with_code_in(folder):
    """Build eight drawn faces with the copy of the code in `folder`: the rows that were written, or the error."""
    program = """
        from datasets_scripts import build, schema
        try:
            report = build.build_synthetic("out", counts={"train": 8}, configs=["vqa"], progress=False)
            print(report["rows_written"])
        except schema.CorpusError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("edited", "counts"),
    [
        ("datasets_scripts/annotator/runner.py", False),
        ("datasets_scripts/fairfacegpt/records.py", False),
        ("datasets_scripts/synthetic/faces.py", True),
        ("modeling_facemllm/face_tasks_facemllm.py", False),
        ("modeling_facemllm/face_task_table_facemllm.py", True),
    ],
)
def test_only_an_edit_of_code_that_makes_the_rows_counts(tmp_path, edited, counts):
    for package in ("datasets_scripts", "modeling_facemllm"):
        shutil.copytree(ROOT / package, tmp_path / package)
    assert build_with_code_in(tmp_path) == "8"
    with open(tmp_path / edited, "a") as file:
        file.write("# a word more\n")
    again = build_with_code_in(tmp_path)
    assert ("code.datasets_scripts" in again) if counts else again == "0"


def test_the_room_of_a_corpus_own_source_counts_for_that_corpus():
    faces = AskedFaces(AnsweredLaionFaces("work"), "vqa")
    assert code_fingerprint(faces) != code_fingerprint(Squares(1)) == code_fingerprint()
