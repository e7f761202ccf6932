"""The walk-throughs of CONTRIBUTING.md, done as they are written: in a copy of the code, by other processes."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import save_model

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NEW_FILE = re.compile(r"^`([\w./]+)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDED_LINE = re.compile(r"^In `([\w./]+)`:\n\n```diff\n (.*\n)\+(.*\n)```$", re.MULTILINE)


def section(title):
    """What stands below a heading, up to the next of its kind."""
    return re.split(r"^## ", TEXT.partition(f"## {title}")[2], flags=re.MULTILINE)[0]


@pytest.fixture
def follow(tmp_path):
    """Copies the code, does what a section says, and returns a function that runs Python or a command there."""

    def follow(title):
        for room in ("datasets_scripts", "facemllm", "modeling_facemllm"):
            shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
        written = section(title)
        done = 0
        for path, content in NEW_FILE.findall(written):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(content)
            done += 1
        for path, line, added in ADDED_LINE.findall(written):
            text = (tmp_path / path).read_text()
            assert text.count(f"\n{line}") == 1, f"{path} has no line {line!r}"
            (tmp_path / path).write_text(text.replace(f"\n{line}", f"\n{line}{added}"))
            done += 1
        assert done == written.count("```python") + written.count("```diff"), "a block was not followed"
        return run

    def run(*words):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return follow


def write_badges(folder, count=40):
    folder.mkdir()
    with open(folder / "labels.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "expression"))
        for number in range(count):
            Image.new("RGB", (16, 16), (6 * number, 0, 0)).save(folder / f"{number}.png")
            rows.writerow((f"{number}.png", "happiness" if number else "hungry"))


def test_a_dataset_takes_one_file(follow, tmp_path):
    run = follow("Add a dataset: one file")
    write_badges(tmp_path / "BADGES")
    report = json.loads(run("-m", "facemllm", "data", "badges", "BADGES", "--out", "corpora/badges", "--json"))
    counted = report["configs"]["face_tasks"]
    assert sum(split["rows"] for split in counted.values()) == 39
    assert [split["skipped"] for split in counted.values() if split["skipped"]] == [{"undefined label 'hungry'": 1}]
    opened = "from facemllm.evaluation.benchmarks import Wanted, open_benchmark; "
    tasks = run("-c", f"{opened}print([t.spec.name for t in open_benchmark('badges', Wanted(root='BADGES')).tasks])")
    assert tasks == "['expression']\n"


def test_a_benchmark_takes_one_folder(follow, tmp_path):
    run = follow("Add a benchmark: one folder")
    (tmp_path / "QUIZ").mkdir()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "QUIZ" / "red.png")
    question = {"picture": "red.png", "question": "Which color?", "options": ["red", "blue"], "answer": "red"}
    (tmp_path / "QUIZ" / "questions.jsonl").write_text(f"{json.dumps(question)}\n" * 5)
    save_model(tmp_path / "MODEL")
    words = ["-m", "facemllm", "evaluate", "MODEL", "quiz", "--root", "QUIZ", "--out", "reports/quiz"]
    report = json.loads(run(*words, "--ways", "scoring", "generation", "--json"))
    assert {way: figures["n"] for way, figures in report["tasks"]["quiz"].items()} == {"scoring": 5, "generation": 5}
    assert "- scoring: accuracy " in (tmp_path / "reports" / "quiz" / "report.md").read_text()


def test_a_face_task_takes_two_files(follow):
    run = follow("Add a face task: two files")
    blocks = re.findall(r"^```\w*\n(.*?)^```$", section("Add a face task: two files"), re.MULTILINE | re.DOTALL)
    command, shown = blocks[-2:]
    assert run("-c", re.search(r'-c "(.*)"', command)[1]) == shown
    asked = "from datasets_scripts.questions.zero_shot import UNSEEN; print('wearing_helmet' in UNSEEN); "
    known = "from modeling_facemllm.face_tasks_facemllm import face_tasks; print('wearing_helmet' in face_tasks())"
    assert run("-c", asked + known) == "True\nTrue\n"
