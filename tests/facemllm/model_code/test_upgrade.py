"""`facemllm upgrade`: today's code beside weights that older code saved; loaded afterwards by somebody else."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from facemllm.cli import main
from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor
from modeling_facemllm.versions_facemllm import TESTED
from tests.modeling_facemllm.test_stranger import FLAT_FILES, PYTHONS, greedy_here, meet_stranger

ROOT = Path(__file__).parents[3]
BROKEN = "raise TypeError(\"__init__() got an unexpected keyword argument 'cache'\")\n"
GONE = "processing_compat_facemllm.py"
NEW = "versions_facemllm.py"


def edit(path, change):
    settings = json.loads(path.read_text())
    change(settings)
    path.write_text(json.dumps(settings, indent=2) + "\n")


def make_old(folder):
    """As older code left it: code that breaks, one file that is no more and one that was not yet, 5.x's tokenizer."""
    code = folder / "modeling_facemllm.py"
    code.write_text(BROKEN + code.read_text())
    (folder / GONE).write_text(BROKEN)
    (folder / NEW).unlink()
    edit(folder / "config.json", lambda config: config.pop("transformers_tested"))
    edit(
        folder / "config.json",
        lambda config: config["auto_map"].update(
            AutoModel="faces/first--modeling_facemllm.FaceMLLMForConditionalGeneration",
            AutoModelForVision2Seq="modeling_facemllm.FaceMLLMThatIsNoMore",
            AutoModelForSequenceClassification="head.Head",
        ),
    )
    edit(
        folder / "tokenizer_config.json",
        lambda tokenizer: tokenizer.update(tokenizer_class="TokenizersBackend", extra_special_tokens=["<image>"]),
    )
    return folder


@pytest.fixture
def old_model(tiny_model, tmp_path):
    folder = make_old(shutil.copytree(tiny_model, tmp_path / "old"))
    (folder / "handler.py").write_text("# somebody's own\n")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nMine.\n")
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def upgraded(capsys, *words):
    assert main(["upgrade", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words):
    assert main(["upgrade", *map(str, words)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("facemllm upgrade: ") and message.count("\n") == 1
    return message


def assert_todays_code(folder):
    from modeling_facemllm import versions_facemllm

    flat = Path(versions_facemllm.__file__).parent
    assert {path.name for path in folder.glob("*_facemllm.py")} == FLAT_FILES
    assert all((folder / name).read_bytes() == (flat / name).read_bytes() for name in FLAT_FILES)
    assert json.loads((folder / "config.json").read_text())["transformers_tested"] == TESTED
    assert not list(folder.glob(".facemllm-upgrade*"))


# -- a folder in its own place


def test_code_is_replaced_and_nothing_else(old_model, tiny_model, capsys):
    edit(old_model / "config.json", lambda config: config.update(use_cache=False, note="größer"))
    before, weights = contents(old_model), (old_model / "model.safetensors").stat()
    report = upgraded(capsys, old_model)
    assert report["added"] == [NEW]
    assert report["removed"] == [GONE]
    assert report["replaced"] == ["modeling_facemllm.py", "tokenizer_config.json", "config.json"]
    assert (report["transformers_tested"], report["folder"]) == (TESTED, str(old_model))
    assert_todays_code(old_model)
    after = contents(old_model)
    assert {name for name in before if before[name] != after.get(name)} == {*report["replaced"], GONE}
    assert (old_model / "model.safetensors").stat() == weights

    config, old_config = json.loads(after["config.json"]), json.loads(before["config.json"])
    assert {key for key in config if config[key] != old_config.get(key)} == {"auto_map", "transformers_tested"}
    fresh = json.loads((tiny_model / "config.json").read_text())
    assert config["auto_map"] == fresh["auto_map"] | {"AutoModelForSequenceClassification": "head.Head"}
    tokenizer = json.loads(after["tokenizer_config.json"])
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["additional_special_tokens"] == ["<image>"]


def test_what_changed_is_told_and_a_second_run_has_nothing_to_do(old_model, capsys):
    assert main(["upgrade", str(old_model)]) == 0
    printed = capsys.readouterr().out
    assert GONE in printed and NEW in printed and TESTED in printed
    assert f"facemllm publish model {old_model} ORG/NAME" in printed
    before = contents(old_model)
    assert main(["upgrade", str(old_model)]) == 0
    printed = capsys.readouterr().out
    assert "nothing to do" in printed and printed.count("\n") == 1
    assert contents(old_model) == before


@pytest.fixture(scope="module")
def rescued(tiny_model, tmp_path_factory):
    """An old folder, and its upgraded copy."""
    place = tmp_path_factory.mktemp("rescued")
    old = make_old(shutil.copytree(tiny_model, place / "old"))
    (old / NEW).write_text(BROKEN)
    assert main(["upgrade", str(old), "--out", str(place / "new")]) == 0
    return old, place / "new"


@pytest.mark.parametrize("python", PYTHONS)
def test_a_stranger_gets_the_packages_answers(python, rescued, face_png, tmp_path):
    old, new = rescued
    with pytest.raises(AssertionError, match="TypeError"):
        meet_stranger(python, old, face_png, tmp_path / "before")
    found = meet_stranger(python, new, face_png, tmp_path / "after")
    expected = greedy_here(new, face_png, FaceMLLMForConditionalGeneration, FaceMLLMProcessor)
    assert found["tokens"] == dict.fromkeys(found["tokens"], expected)
    assert found["classes"] == ["transformers_modules"] * 3
    assert found["analysis"] == found["analysis_resaved"]


def killed_after(moves, folder):
    """Run the command in a process that is killed outright when it has moved as many files into their places."""
    program = f"""
import os, signal
folder, left, replace = {str(folder)!r}, iter(range({moves})), os.replace
def killed(source, target):
    if str(target).startswith(folder) and next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killed
from facemllm.cli import main
main(["upgrade", folder])
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == -signal.SIGKILL
    return {name: content for name, content in contents(folder).items() if not name.startswith(".")}


def test_a_kill_before_the_first_file_is_moved_leaves_the_old_folder(old_model):
    before = contents(old_model)
    assert killed_after(0, old_model) == before


def test_a_kill_between_two_files_is_mended_by_the_same_command(old_model, capsys):
    before = contents(old_model)
    left = killed_after(1, old_model)
    assert left != before
    assert left["config.json"] == before["config.json"]  # still counts as older
    assert upgraded(capsys, old_model)["removed"] == [GONE]
    assert_todays_code(old_model)


def test_a_folder_that_would_not_load_stays_as_it_was(old_model, capsys):
    settings = json.loads((old_model / "processor_config.json").read_text())
    (old_model / "processor_config.json").write_text(json.dumps(settings | {"num_image_tokens": "many"}))
    before = contents(old_model)
    message = refused(capsys, old_model)
    assert str(old_model) in message and "nothing was changed" in message
    assert contents(old_model) == before


def test_code_of_others_is_named_and_not_run(old_model, tmp_path, capsys):
    ran = tmp_path / "ran"
    (old_model / "pictures.py").write_text(f"open({str(ran)!r}, 'w')\n")
    named = {"image_processor_type": "Pictures", "auto_map": {"AutoImageProcessor": "pictures.Pictures"}}
    (old_model / "preprocessor_config.json").write_text(json.dumps(named))
    report = upgraded(capsys, old_model)
    assert report["not_run"] == ["pictures.Pictures"] and report["checked"] is None
    assert_todays_code(old_model)
    assert not ran.exists()


# -- a copy


def test_a_copy_leaves_the_old_folder_and_shares_nothing_with_it(old_model, tmp_path, capsys):
    (old_model / ".git").mkdir()
    (old_model / ".git" / "objects").write_bytes(b"large")
    (old_model / "adapter").mkdir()
    (old_model / "adapter" / "modeling_facemllm.py").write_text(BROKEN)
    before, out = contents(old_model), tmp_path / "new" / "model"
    report = upgraded(capsys, old_model, "--out", out)
    assert contents(old_model) == before
    assert (report["folder"], report["publish"]) == (str(out), f"facemllm publish model {out} ORG/NAME")
    assert_todays_code(out)
    assert BROKEN not in (out / "adapter" / "modeling_facemllm.py").read_text()
    assert (out / "model.safetensors").read_bytes() == before["model.safetensors"]
    assert (out / "model.safetensors").stat().st_nlink == 1
    assert (out / "handler.py").exists() and not (out / ".git").exists()
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_a_copy_of_what_is_todays_is_not_made(tiny_model, tmp_path, capsys):
    assert main(["upgrade", str(tiny_model), "--out", str(tmp_path / "new")]) == 0
    assert f"{tmp_path / 'new'} was not written" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_a_snapshot_in_the_hubs_cache_is_copied_and_never_edited(old_model, tmp_path, capsys):
    cache = tmp_path / "cache" / "models--faces--old"
    shutil.copytree(old_model, cache / "blobs")
    snapshot = cache / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    for blob in (cache / "blobs").iterdir():
        (snapshot / blob.name).symlink_to(Path("../../blobs", blob.name))
    linked = shutil.copytree(snapshot, tmp_path / "linked", symlinks=True)
    for name in ("model.safetensors", "config.json"):
        (linked / name).unlink()
        (linked / name).symlink_to(snapshot / name)
    before = contents(cache)
    for folder in (snapshot, linked):
        message = refused(capsys, folder)
        assert str(folder) in message and "Hub's cache" in message and "--out" in message
    upgraded(capsys, snapshot, "--out", tmp_path / "new")
    assert_todays_code(tmp_path / "new")
    assert not any(path.is_symlink() for path in (tmp_path / "new").iterdir())
    assert contents(cache) == before


# -- the Hub, on loopback


@pytest.fixture
def upgrade(client):
    """Run the command in the client's process."""
    return partial(client.command, "upgrade")


def upload(client, folder, repository):
    client.run(f"""
        from huggingface_hub import HfApi
        HfApi().create_repo({repository!r})
        HfApi().upload_folder(folder_path={str(folder)!r}, repo_id={repository!r})
    """)


def test_a_hub_id_is_downloaded_upgraded_and_published_again(hub, client, upgrade, old_model, tmp_path):
    edit(old_model / "config.json", lambda config: config["auto_map"].pop("AutoModelForSequenceClassification"))
    upload(client, old_model, "faces/old")
    message = upgrade("faces/old")
    assert message.count("\n") == 1 and "faces/old" in message and "--out" in message
    out = tmp_path / "new"
    report = upgrade("faces/old", "--out", out)
    assert report["publish"] == f"facemllm publish model {out} faces/old"
    assert_todays_code(out)
    assert (out / "model.safetensors").read_bytes() == (old_model / "model.safetensors").read_bytes()
    published = client.command(*report["publish"].split()[1:])
    assert published["removed_files"] == 1  # the file that today's code has no more
    downloads = len(hub.requests("GET", "model.safetensors"))
    assert upgrade("faces/old", "--out", tmp_path / "again")["folder"] is None
    assert len(hub.requests("GET", "model.safetensors")) == downloads
    first = client.run(
        "from huggingface_hub import HfApi; print(HfApi().list_repo_commits('faces/old')[-2].commit_id)"
    )
    report = upgrade("faces/old", "--revision", first[0].strip(), "--out", tmp_path / "first")
    assert report["removed"] == [GONE]


@pytest.fixture(scope="module")
def other_kind(client, tiny_model, tmp_path_factory):
    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("other") / "model")
    edit(folder / "config.json", lambda config: config.update(model_type="llava"))
    upload(client, folder, "faces/llava")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["faces/nowhere"], "repository"), (["faces/llava", "--revision", "v9"], "revision='v9'")],
    ids=["repository", "revision"],
)
def test_what_the_hub_does_not_have_is_one_line(upgrade, other_kind, tmp_path, words, message):
    error = upgrade(*words, "--out", tmp_path / "new")
    assert error.startswith(f"facemllm upgrade: {words[0]}: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_another_kind_of_model_is_refused_before_its_weights_are_fetched(hub, upgrade, other_kind, tmp_path):
    assert "'llava'" in upgrade("faces/llava", "--out", tmp_path / "new")
    assert not [request for request in hub.requests("GET", "faces/llava") if "model.safetensors" in request["path"]]


# -- what is refused


def change(folder, name, **settings):
    edit(folder / name, lambda present: present.update(settings))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: change(folder, "config.json", model_type="llava"), ("'llava'", "'facemllm'")),
        (lambda folder: (folder / "export.json").write_text("{}"), ("ONNX export",)),
        (lambda folder: (folder / "config.json").unlink(), ("no config.json",)),
        (lambda folder: (folder / "config.json").write_text("{"), ("config.json", "no JSON")),
        (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), ("tokenizer_config.json", "list")),
        (
            lambda folder: change(folder, "config.json", transformers_tested=">=5,<=99.0"),
            ("newer", "<=99.0", TESTED, "install a newer facemllm"),
        ),
    ],
    ids=["model_type", "export", "no config", "broken config", "broken tokenizer", "newer"],
)
def test_a_folder_that_cannot_be_upgraded_is_one_line(old_model, capsys, spoil, message):
    spoil(old_model)
    before = contents(old_model)
    error = refused(capsys, old_model)
    assert str(old_model) in error and all(words in error for words in message)
    assert contents(old_model) == before


def test_a_wrong_place_is_named_with_its_option(old_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("here")
    assert "nowhere" in refused(capsys, "nowhere")
    assert "--revision main" in refused(capsys, old_model, "--revision", "main")
    for out in (tmp_path, old_model, tmp_path / "file"):
        assert re.search(f"--out {out}: .*give a new folder", refused(capsys, old_model, "--out", out))
    message = refused(capsys, old_model, "--out", old_model / "new")
    assert re.search(f"--out {old_model / 'new'}: .*folder beside", message)
    message = refused(capsys, old_model, "--out", tmp_path / "file" / "new")
    assert f"--out {tmp_path / 'file' / 'new'}: " in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "old"]


def test_a_folder_that_may_not_be_written_says_out(old_model, capsys):
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        folder = shutil.copytree(old_model, Path(place, "model"))
        os.chmod(folder, 0o555)
        user = os.geteuid()
        try:
            if user == 0:  # who may write everywhere
                os.seteuid(65534)
            message = refused(capsys, folder)
        finally:
            os.seteuid(user)
        os.chmod(folder, 0o755)
    assert f"{folder}: " in message and "--out NEW" in message


# -- adapters


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "faces/base", "r": 8}))
    return folder


def test_an_adapter_without_code_needs_nothing_and_names_its_base(adapter, capsys):
    assert main(["upgrade", str(adapter)]) == 0
    printed = capsys.readouterr().out
    assert "nothing to do" in printed and "faces/base" in printed
    assert [path.name for path in adapter.iterdir()] == ["adapter_config.json"]


def test_an_adapter_with_its_processor_is_upgraded(adapter, old_model, capsys):
    for path in old_model.iterdir():
        if path.suffix in (".py", ".jinja", ".json") and path.name != "config.json":
            shutil.copy(path, adapter)
    report = upgraded(capsys, adapter)
    assert report["removed"] == [GONE] and report["base_model"] == "faces/base" and report["checked"]
    assert {path.name for path in adapter.glob("*_facemllm.py")} == FLAT_FILES
