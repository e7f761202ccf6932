"""LAION-Face's URL tables to tars: what img2dataset leaves is read as it writes it; itself where there is one.

The environment variable FACEMLLM_IMG2DATASET names the command; without it the real runs are skipped.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from datasets_scripts.files import is_locked
from datasets_scripts.laion_face.download import count_downloaded, download, reason_of
from datasets_scripts.laion_face.tars import TarSample, find_tars, read_tar
from datasets_scripts.schema import CorpusError
from tests.datasets_scripts.laion_face.img2dataset_folder import FIRST_ID, encode
from tests.datasets_scripts.laion_face.picture_server import PictureServer
from tests.refusals import refuses

IMG2DATASET = os.environ.get("FACEMLLM_IMG2DATASET")
needs_img2dataset = pytest.mark.skipif(
    not IMG2DATASET,
    reason="FACEMLLM_IMG2DATASET names no img2dataset (python -m venv E; E/bin/pip install img2dataset)",
)


def write_table(path, urls, drop=()):
    """A part of LAION-Face's URL tables; SAMPLE_ID is a floating number there."""
    count = len(urls)
    columns = {
        "SAMPLE_ID": pyarrow.array([float(FIRST_ID + number) for number in range(count)]),
        "URL": urls,
        "TEXT": [f"Somebody Famous, {number}" for number in range(count)],
        "HEIGHT": [120] * count,
        "WIDTH": [160] * count,
        "LICENSE": ["?"] * count,
        "NSFW": ["UNLIKELY"] * count,
        "similarity": [0.3] * count,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({name: column for name, column in columns.items() if name not in drop}), path)
    return path


def write_stats(folder, number, statuses):
    """As img2dataset 1.47 writes it when a shard is finished."""
    success = statuses.get("success", 0)
    stats = {
        "count": sum(statuses.values()),
        "successes": success,
        "failed_to_download": sum(statuses.values()) - success,
        "failed_to_resize": 0,
        "duration": 3.03,
        "start_time": 1795278123.910746,
        "end_time": 1795278126.9432862,
        "status_dict": statuses,
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{number:05d}_stats.json").write_text(json.dumps(stats, indent=4))


def run(urls, out, **options):
    return download(urls, out, progress=False, **{"img2dataset": IMG2DATASET or "img2dataset", **options})


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("HTTP Error 404: Not Found", "HTTP 404"),
        ("HTTP Error 410: Gone", "HTTP 410"),
        ("<urlopen error [Errno -2] Name or service not known>", "no such host"),
        ("<urlopen error [Errno 111] Connection refused>", "connection failed"),
        ("[Errno 104] Connection reset by peer", "connection failed"),
        ("Remote end closed connection without response", "connection failed"),
        ("IncompleteRead(1024 bytes read, 99 more expected)", "connection failed"),
        ("<urlopen error timed out>", "timed out"),
        ("The read operation timed out", "timed out"),
        (
            "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, "
            "certificate is not valid for 'img.example.org'. (_ssl.c:1006)>",
            "certificate or TLS error",
        ),
        ("Image decoding error", "not a picture"),
        ("Use of image disallowed by X-Robots-Tag directive", "its server allows no use for AI (noai, noindex)"),
        ("unknown url type: 'not a url'", "malformed URL"),
        ("something never seen", "another error"),
    ],
)
def test_what_went_wrong_is_told_by_kinds_without_names_of_hosts(words, reason):
    assert reason_of(words) == reason


def test_dead_links_are_counted_over_the_shards_that_are_finished(tmp_path):
    write_stats(tmp_path / "out", 0, {"success": 7, "HTTP Error 404: Not Found": 2, "timed out": 1})
    write_stats(tmp_path / "out", 1, {"<urlopen error timed out>": 995, "success": 5})
    (tmp_path / "out/00002_stats.json").write_text('{\n    "count": 10,\n    "succ')  # being written
    counted = count_downloaded(tmp_path / "out")
    assert (counted.urls, counted.downloaded, counted.shards) == (1010, 12, 2)
    assert counted.reasons == {"timed out": 996, "HTTP 404": 2}


def test_a_download_whose_shards_are_all_finished_is_only_counted(tmp_path):
    table = write_table(tmp_path / "laion_face_part_00000.parquet", ["http://a.example/1.jpg"] * 10)
    write_stats(tmp_path / "out", 0, {"success": 3, "HTTP Error 404: Not Found": 7})
    report = run(table, tmp_path / "out", img2dataset="/no/such/command")
    assert (report["urls"], report["downloaded"], report["failed"], report["unfinished"]) == (10, 3, 7, 0)
    assert report["reasons"] == {"HTTP 404": 7}


def test_mistakes_are_told_with_the_remedy(tmp_path):
    table = write_table(tmp_path / "a.parquet", ["http://a.example/1.jpg"] * 3)
    with refuses("img2dataset", "/no/such", "pip install img2dataset"):
        run(table, tmp_path / "out", img2dataset="/no/such")
    with pytest.raises(CorpusError, match=r"b\.parquet\b.*give laion_face_part_000NN\.parquet"):
        run(tmp_path / "b.parquet", tmp_path / "out")
    with pytest.raises(CorpusError, match=r"c\.parquet\b.*\bSAMPLE_ID\b.*\bURL, TEXT\b"):
        run(write_table(tmp_path / "c.parquet", ["http://a.example"], drop=["SAMPLE_ID"]), tmp_path / "other")
    (tmp_path / "d.parquet").write_text("no table")
    with pytest.raises(CorpusError, match=r"d\.parquet\b.*Parquet file"):
        run(tmp_path / "d.parquet", tmp_path / "other")
    with pytest.raises(CorpusError, match=r"images_per_shard: 10000\b.*\b50\b.*give the same .*another folder"):
        run(table, tmp_path / "out", images_per_shard=50)
    with refuses("threads", 0, "1 or more"):
        run(table, tmp_path / "out", threads=0)


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path):
    table = write_table(tmp_path / "a.parquet", ["http://a.example/1.jpg"])
    with pytest.raises(CorpusError, match=r"img2dataset\b.*\b2\b.*img2dataset\.log"):
        run(table, tmp_path / "out", img2dataset=sys.executable)  # it knows no --url_list


def begin_download(folder, script):
    """A table, and the process of a download whose img2dataset is the shell script, once that runs."""
    table = write_table(folder / "a.parquet", ["http://a.example/1.jpg"])
    command = folder / "slow"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    call = "import sys; from datasets_scripts.laion_face.download import *; "
    call += "download(*sys.argv[1:3], img2dataset=sys.argv[3])"
    arguments = [sys.executable, "-c", call, str(table), str(folder / "out"), str(command)]
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[3], stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 30
    while not ((state := folder / "out/.download.lock").exists() and "img2dataset" in state.read_text()):
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.05)
    time.sleep(0.5)
    return table, process


def test_two_downloads_into_one_folder_do_not_run_at_once(tmp_path):
    table, first = begin_download(tmp_path, "sleep 30")
    try:
        with pytest.raises(
            CorpusError,
            match=rf"out\b.*process {first.pid}\b.*img2dataset \d+\b.*wait for it, or end it",
        ):
            run(table, tmp_path / "out")
        first.send_signal(signal.SIGINT)  # Ctrl-C ends img2dataset too, and frees the folder
        assert first.wait(20) != 0
        with refuses("img2dataset", "/no/such", "pip install img2dataset"):
            run(table, tmp_path / "out", img2dataset="/no/such")
    finally:
        first.kill()
        first.wait()


def test_a_killed_download_takes_img2dataset_and_its_processes_along(tmp_path):
    _, killed = begin_download(tmp_path, "sleep 600 & sleep 600")
    killed.kill()
    killed.wait()
    give_up = time.monotonic() + 30
    while is_locked(tmp_path / "out/.download.lock"):  # which every process of img2dataset holds
        assert time.monotonic() < give_up
        time.sleep(0.1)


@needs_img2dataset
def test_the_living_are_fetched_the_dead_counted_and_an_unfinished_shard_is_fetched_again(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = {f"/{number}.jpg": encode(Image.new("RGB", (160, 120), (9 * number, 90, 200))) for number in range(20)}
    pictures["/turned.jpg"] = encode(Image.new("RGB", (160, 120), "red"), exif=exif)
    pictures["/some.png"] = encode(Image.new("RGB", (160, 120), "red"), format="PNG")
    dead = ["/gone", "/forbidden", "/noai.jpg", "/hang", "/page.html", "/half.jpg"]
    with PictureServer(pictures) as server:
        urls = [server.url + path for path in (*pictures, *dead)]
        urls += ["http://no.such.host.invalid/a.jpg", "http://127.0.0.1:1/a.jpg", "not a url"]
        table = write_table(tmp_path / "laion_face_part_00000.parquet", urls)
        options = {"images_per_shard": 10, "threads": 8, "timeout": 3, "retries": 0}
        report = run(table, tmp_path / "out", **options)
        assert (report["urls"], report["downloaded"], report["shards"], report["unfinished"]) == (31, 22, 4, 0)
        assert report["reasons"] == {
            "not a picture": 2,
            "HTTP 404": 1,
            "HTTP 403": 1,
            "its server allows no use for AI (noai, noindex)": 1,
            "timed out": 1,
            "no such host": 1,
            "connection failed": 1,
            "malformed URL": 1,
        }
        asked = len(server.asked)
        (tmp_path / "out/00001_stats.json").unlink()  # as a kill in the middle of a shard leaves it
        with open(tmp_path / "out/00001.tar", "rb+") as file:
            file.truncate(3000)
        again = run(table, tmp_path / "out", **options)
        assert len(server.asked) == asked + 10
        assert {**again, "seconds": 0} == {**report, "seconds": 0}
    samples = [sample for tar in find_tars(tmp_path / "out") for sample in read_tar(tar)]
    assert all(isinstance(sample, TarSample) for sample in samples)
    by_id = {sample.sample_id - FIRST_ID: sample for sample in samples}
    assert sorted(by_id) == list(range(22))
    for number in range(20):  # the bytes as the server sent them
        assert by_id[number].picture == pictures[f"/{number}.jpg"]
        assert by_id[number].meta["WIDTH"] == 160
    assert json.loads(by_id[20].meta["exif"])["Image Orientation"] == "Rotated 90 CW"
