"""`facemllm publish corpus`, in processes of its own, against a Hub on loopback that speaks HTTP."""

import contextlib
import re
import shutil
import subprocess
import sys
import textwrap
from functools import partial

import pytest
from PIL import Image

from datasets_scripts.corpus.writing import write_corpus
from datasets_scripts.schema import assistant_turn, make_record, user_turn
from facemllm.cli import main
from facemllm.commands.publish import _listed
from tests.facemllm.publishing.hub_process import ROOT, until


def record(index, red=0, source="squares", license="cc-by-4.0"):
    return make_record(
        id=f"squares/{index}",
        image=Image.new("RGB", (64, 64), (red, index % 256, 0)),
        url=f"{index}.png",
        messages=[user_turn("How much red?", image=True), assistant_turn(str(red))],
        task="vqa",
        split="train",
        source=source,
        license=license,
    )


def build(out, reds=(0, 0, 0, 0), **about):
    """A corpus of two configs and, for each of `reds`, a shard of five pictures so red."""
    origin = {key: about.pop(key) for key in ("source", "license") if key in about}
    rows = [record(5 * shard + index, red, **origin) for shard, red in enumerate(reds) for index in range(5)]
    corpora = {"captions": {"train": rows}, "vqa": {"train": rows[:3]}}
    about = {"name": "Squares", "license": "cc-by-4.0", "description": "Red squares.", "people": False, **about}
    write_corpus(corpora, out, shard_rows=5, progress=False, overwrite=True, **about)
    return out


@pytest.fixture(autouse=True)
def _no_earlier_requests(hub):
    """The Hub's log begins with the test, which has a repository of its own."""
    (hub.root / "requests.ndjson").unlink(missing_ok=True)


@pytest.fixture
def words_of(client):
    """Run code in another process; the words it printed."""
    return lambda code, token="writer": client.run(code, token)[0].split()


@pytest.fixture
def publish(client):
    """Run the command in another process."""
    return partial(client.command, "publish", "corpus")


@contextlib.contextmanager
def begun(hub, tmp_path, code):
    """A publishing process that goes on beside the test; killed outright at the end."""
    environment = hub.environment(tmp_path / "home")
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def in_a_fresh_process(code, hub, tmp_path):
    """The words printed by code that finds the installed packages only, none of this repository's."""
    environment = hub.environment(tmp_path / "home")
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def loading(repository, revision="main"):
    """Code that loads the captions, in a cache of its own, and prints the number of rows or the error's name."""
    return f"""
        from tempfile import TemporaryDirectory
        from datasets import load_dataset
        with TemporaryDirectory() as cache:
            words = {{"split": "train", "revision": {revision!r}, "cache_dir": cache}}
            try:
                print(load_dataset({repository!r}, "captions", **words).num_rows)
            except Exception as error:
                print(type(error).__name__, error)
    """


def sent(hub):
    """The bytes of large files that arrived whole, by their content."""
    puts = hub.requests("PUT", "/_storage/")
    return [(entry["path"][-64:], entry["received"]) for entry in puts if entry["status"] == 200]


def test_a_published_corpus_is_loaded_streamed_and_read_by_revision(hub, publish, words_of, tmp_path):
    report = publish(build(tmp_path / "out"), "faces/loaded", "--private")
    assert report["load"] == ['load_dataset("faces/loaded", "captions")', 'load_dataset("faces/loaded", "vqa")']
    assert report["private"] and report["new_files"] == 7 and report["commits"] == 1
    code = f"""
        from datasets import load_dataset
        rows = load_dataset("faces/loaded", "captions", split="train")
        assert rows[7]["image"].getpixel((0, 0)) == (0, 7, 0)
        streamed = load_dataset("faces/loaded", "captions", split="train", streaming=True)
        assert [row["id"] for row in streamed] == list(rows["id"])
        old = load_dataset("faces/loaded", "vqa", split="train", revision="{report["commit"]}")
        print(rows.num_rows, streamed.num_shards, old.num_rows)
    """
    assert in_a_fresh_process(code, hub, tmp_path) == ["20", "4", "3"]
    for token in (None, "stranger"):
        assert words_of(loading("faces/loaded"), token)[0] == "DatasetNotFoundError"


def test_a_corpus_published_again_sends_nothing_and_a_changed_one_only_what_is_new(hub, publish, words_of, tmp_path):
    folder = build(tmp_path / "out", (0, 0, 0, 0))
    first = publish(folder, "faces/changed")
    before = len(sent(hub))
    again = publish(folder, "faces/changed")
    assert again["commit"] == first["commit"] and again["new_files"] == again["commits"] == 0
    assert len(sent(hub)) == before == 5

    build(folder, (0, 9, 0))  # a shard less: the others get other names, and one has other pictures
    changed = publish(folder, "faces/changed")
    assert len(sent(hub)) >= before + 1
    assert changed["removed_files"] == 4 and changed["commits"] == 1
    names = """
        from huggingface_hub import HfApi
        from datasets import load_dataset
        print(*(name for name in HfApi().list_repo_files("faces/changed", repo_type="dataset") if "captions" in name))
        print(load_dataset("faces/changed", "captions", split="train").num_rows)
    """
    shards = [f"captions/train-{index:05d}-of-00003.parquet" for index in range(3)]
    assert words_of(names) == [*shards, "15"]


def test_an_upload_killed_outright_goes_on_and_sends_no_finished_file_again(hub, publish, words_of, tmp_path):
    folder = build(tmp_path / "out", range(12))
    hub.misbehave("PUT /_storage", "stall", skip=6, times=99)
    code = f"""
        from facemllm.cli import main
        main(["publish", "corpus", {str(folder)!r}, "faces/killed"])
    """
    with begun(hub, tmp_path, code):
        until(lambda: len(sent(hub)) == 6)
    finished = sent(hub)
    hub.stop()
    hub.start()

    assert words_of(loading("faces/killed"))[0] == "EmptyDatasetError"
    report = publish(folder, "faces/killed")
    assert report["commits"] == 1
    assert len(sent(hub)) == 13 and len({content for content, _ in sent(hub)}) == 13
    assert sent(hub)[:6] == finished


def test_a_corpus_of_many_commits_is_loaded_whole_or_not_at_all(hub, publish, words_of, tmp_path):
    folder = build(tmp_path / "out", (1, 1))
    first = publish(folder, "faces/staged")
    build(folder, range(2, 11))
    hub.misbehave("POST .*/commit/", "stall", skip=3)
    code = f"""
        from facemllm.publishing import publish_corpus
        print(publish_corpus({str(folder)!r}, "faces/staged", commit_files=4, progress=False)["commits"])
    """
    with begun(hub, tmp_path, code):
        until(lambda: len(hub.requests("POST", "/commit/")) == 4)  # the first version's, the notice, and two parts
    hub.stop()
    hub.start()

    assert words_of(loading("faces/staged"))[0] == "DataFilesNotFoundError"
    assert words_of(loading("faces/staged", first["commit"])) == ["10"]
    with begun(hub, tmp_path, code) as process:
        assert process.wait() == 0
    assert len({content for content, _ in sent(hub)}) == len(sent(hub))
    whole = """
        from datasets import load_dataset
        rows = load_dataset("faces/staged", "captions", split="train")
        print(rows.num_rows, {image.getpixel((0, 0))[0] for image in rows["image"]} == set(range(2, 11)))
    """
    assert words_of(whole) == ["45", "True"]


def test_a_bad_connection_is_endured(hub, publish, words_of, tmp_path):
    hub.misbehave("PUT /_storage", "drop", skip=1)
    hub.misbehave("PUT /_storage", "500", skip=2)
    hub.misbehave("POST .*/commit/", "503")
    hub.misbehave("POST .*/commit/", "lose")  # made, but the answer is lost
    report = publish(build(tmp_path / "out"), "faces/endured")
    assert report["new_files"] == 7
    commits = """
        from huggingface_hub import HfApi
        print(len(HfApi().list_repo_commits("faces/endured", repo_type="dataset")))
    """
    assert words_of(commits) == ["2"]  # the repository's first one, and ours


def test_a_hub_that_dies_and_comes_back_is_waited_for(hub, words_of, tmp_path):
    folder = build(tmp_path / "out")
    hub.misbehave("PUT /_storage", "die", skip=2)
    code = f"""
        from facemllm.publishing import publish_corpus
        publish_corpus({str(folder)!r}, "faces/outage", progress=False)
    """
    with begun(hub, tmp_path, code) as process:
        until(lambda: hub.process.poll() is not None)
        hub.start()
        assert process.wait() == 0
    assert words_of(loading("faces/outage")) == ["20"]


def test_a_corpus_of_people_is_gated_before_its_first_picture_arrives(hub, publish, words_of, tmp_path):
    report = publish(build(tmp_path / "out", people=True), "faces/gated")
    assert report["gated"] == "manual"
    paths = [entry["path"] for entry in hub.requests()]
    first_picture = next(index for index, path in enumerate(paths) if path.startswith("/_storage"))
    assert paths.index("/api/datasets/faces/gated/settings") < first_picture
    assert words_of(loading("faces/gated"), "stranger")[0] == "DatasetNotFoundError"
    words_of("from huggingface_hub import HfApi; HfApi().grant_access('faces/gated', 'bob', repo_type='dataset')")
    assert words_of(loading("faces/gated"), "stranger") == ["20"]
    assert publish(tmp_path / "out", "faces/gated", "--gate", "auto")["gated"] == "auto"
    assert publish(tmp_path / "out", "faces/gated")["gated"] == "auto"  # kept, where nothing else is asked for


def test_what_the_repository_holds_of_others_is_not_replaced_unasked(hub, publish, words_of, tmp_path):
    words_of("""
        from huggingface_hub import HfApi
        HfApi().create_repo("faces/other", repo_type="dataset")
        HfApi().upload_file(
            path_or_fileobj=b"a,b", path_in_repo="table.csv", repo_id="faces/other", repo_type="dataset"
        )
    """)
    build(tmp_path / "out")
    assert "holds data that did not come from here (table.csv)" in publish(tmp_path / "out", "faces/other")
    assert "commits" in publish(tmp_path / "out", "faces/other", "--overwrite")
    build(tmp_path / "circles", name="Circles")
    assert "holds another corpus, 'Squares'" in publish(tmp_path / "circles", "faces/other")
    assert "is public: make it private" in publish(tmp_path / "out", "faces/other", "--private")


def test_a_branch_of_its_own_leaves_main_as_it_is(hub, publish, words_of, tmp_path):
    publish(build(tmp_path / "out", (1,)), "faces/branched")
    build(tmp_path / "out", (2, 2))
    report = publish(tmp_path / "out", "faces/branched", "--revision", "next")
    assert report["load"][0] == 'load_dataset("faces/branched", "captions", revision="next")'
    code = """
        from datasets import load_dataset
        for revision in ("main", "next"):
            print(load_dataset("faces/branched", "vqa", split="train", revision=revision)[0]["messages"][1])
    """
    titles = " ".join(words_of(code))
    assert titles.index("'1'") < titles.index("'2'")


def test_what_the_hub_refuses_is_told_in_one_line_with_the_remedy(hub, publish, tmp_path):
    build(tmp_path / "out")
    messages = {
        "bad token": publish(tmp_path / "out", "faces/refused", token="wrong"),
        "no token": publish(tmp_path / "out", "faces/refused", token=None),
        "reads only": publish(tmp_path / "out", "faces/refused", token="reader"),
    }
    hub.misbehave("PUT /_storage", "403", times=9)
    messages["full"] = publish(tmp_path / "out", "faces/refused")
    words = ["publish", "corpus", str(tmp_path / "out"), "faces/refused"]
    environment = hub.environment(tmp_path / "home") | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "facemllm", *words]
    messages["no network"] = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True).stderr
    assert {text.count("facemllm publish: ") for text in messages.values()} == {1}
    assert not any("Traceback" in text for text in messages.values())
    assert "/settings/tokens" in messages["bad token"] and "hf auth login" in messages["no token"]
    assert re.search(r"\btoken\b.*\bfaces\b.*\(403: You don't have the rights", messages["reads only"])
    assert "storage is full" in messages["full"] and "run the same command again" in messages["no network"]


# -- what is refused before anything is sent, in this process


def refused(folder, capsys, *words, repository="faces/unsent"):
    assert main(["publish", "corpus", str(folder), repository, *words]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ({"source": "LAION-Face"}, r"\b5 pictures\b.*\bweb\b"),
        ({"license": "other"}, r"\b5 pictures\b.*\(other\)"),
        ({"license": "cc-by-nc-nd-4.0"}, r"\b5 pictures\b.*\(cc-by-nc-nd-4\.0\)"),
        ({"license": "other", "include_images": False}, r"\blabels\b.*\(other\)"),
    ],
)
def test_what_may_not_be_passed_on_needs_an_explicit_word(origin, reason, tmp_path, capsys):
    folder = build(tmp_path / "out", (0,), people=True, **origin)
    message = refused(folder, capsys)
    assert re.search(reason, message) and "--i-may-pass-this-on" in message
    assert "HF_HUB_OFFLINE" in refused(folder, capsys, "--i-may-pass-this-on")  # the next obstacle


def test_addresses_and_words_about_web_pictures_may_be_passed_on(tmp_path, capsys):
    folder = build(tmp_path / "out", (0,), people=True, source="LAION-Face", include_images=False)
    assert "HF_HUB_OFFLINE" in refused(folder, capsys)


def test_a_folder_that_is_no_whole_corpus_is_refused(tmp_path, capsys):
    whole = build(tmp_path / "whole")
    shard = "captions/train-00001-of-00004.parquet"

    def broken(name):
        return shutil.copytree(whole, tmp_path / name)

    (broken("missing") / shard).unlink()
    (broken("cut") / shard).write_bytes((whole / shard).read_bytes()[:-100])
    (broken("unfinished") / ".building").mkdir()
    (broken("cardless") / "README.md").unlink()
    (broken("damaged") / "corpus.json").write_text('{"configs": 3}')
    shutil.copy(whole / shard, broken("strange") / "captions" / "train-00007-of-00009.parquet")
    for name, told in {
        "missing": f"{shard} .*missing.*build the corpus again",
        "cut": f"{shard} .*cut off.*build the corpus again",
        "unfinished": "run the command .*once more",
        "cardless": r"README\.md\b.*build it with facemllm data",
        "damaged": r"corpus\.json\b.*build the corpus again",
        "strange": r"train-00007-of-00009\.parquet .*remove it",
        "nowhere": r"--out DIR",
    }.items():
        assert re.search(f"{tmp_path / name}.*{told}", refused(tmp_path / name, capsys))


@pytest.mark.parametrize("name", ["captions/train-00001-of-00004.parquet", "README.md", "corpus.json"])
def test_a_link_out_of_the_folder_is_not_followed(tmp_path, capsys, name):
    folder = build(tmp_path / "out")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    message = refused(folder, capsys)
    assert name in message and str(tmp_path / "elsewhere") in message and "copy" in message


def test_a_corpus_says_how_much_of_it_goes():
    files = {f"captions/train-{number:05d}-of-00200.parquet": 1000 for number in range(200)} | {"README.md": 5}
    assert [line.split() for line in _listed(files)] == [
        ["5", "README.md"],
        ["200,000", "captions/", "(200", "files)"],
    ]


def test_a_repository_needs_an_owner_in_its_name(tmp_path, capsys):
    build(tmp_path / "out", (0,))
    for name in ("squares", "a/b/c", "faces/..", "faces/"):
        message = refused(tmp_path / "out", capsys, repository=name)
        assert f"{name!r}" in message and "ORGANISATION/NAME" in message
