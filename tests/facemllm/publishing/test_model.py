"""`facemllm publish model`, in a process of its own, against a Hub on loopback that speaks HTTP."""

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import textwrap
from functools import partial

import pytest
from PIL import Image

from facemllm.cli import main
from facemllm.publishing.model import publish_model
from facemllm.publishing.model_card import trained_model_card
from facemllm.publishing.model_index import eval_results, with_results


@pytest.fixture
def publish(client):
    """Run the command in another process."""
    return partial(client.command, "publish", "model")


@pytest.fixture
def model(tiny_model, tmp_path):
    """A folder as training leaves it: the model, and things that are nobody else's business."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    checkpoint = folder / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    (folder / "predictions.jsonl").write_text('{"id": "1"}\n')
    Image.new("RGB", (8, 8)).save(folder / "somebody.jpg")
    return folder


REPORT = {
    "model": "runs/faces",
    "complete": True,
    "run": {"settings": {"weights": None}},
    "dataset": {"name": "FairFace", "type": "HuggingFaceM4/FairFace", "config": "0.25", "split": "validation"},
    "tasks": {
        "gender": {
            "scoring": {"metrics": {"accuracy": {"value": 0.8124, "interval": [0.79, 0.83], "n": 1000}}},
            "generation": {"metrics": {"accuracy": {"value": 0.8, "interval": [0.78, 0.82], "n": 1000}}},
        },
        "race": {"scoring": {"metrics": {"accuracy": {"value": 0.5, "interval": [0.4, 0.6], "n": 90}}}},
    },
}


@pytest.fixture
def report(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(json.dumps(REPORT))
    return tmp_path / "report"


def test_a_published_model_is_loaded_by_whoever_has_transformers(hub, publish, client, model, report, tmp_path):
    published = publish(model, "faces/loaded", "--report", report)
    assert published["load"] == [
        'AutoModelForImageTextToText.from_pretrained("faces/loaded", trust_remote_code=True)',
        'pipeline("face-analysis", model="faces/loaded", trust_remote_code=True)',
    ]
    assert published["ignored"] == ["checkpoints/", "predictions.jsonl", "somebody.jpg"]
    code = """
        import torch
        from transformers import AutoModel, AutoProcessor
        from huggingface_hub import HfApi, ModelCard
        AutoProcessor.from_pretrained("faces/loaded", trust_remote_code=True)
        model = AutoModel.from_pretrained("faces/loaded", trust_remote_code=True)
        print(type(model).__name__, sum(weight.double().sum().item() for weight in model.parameters()))
        print(*HfApi().list_repo_files("faces/loaded"))
        for result in ModelCard.load("faces/loaded").data.eval_results:
            print(result.dataset_type, result.dataset_split, result.metric_value, result.metric_args["interval_95"])
    """
    environment = hub.environment(tmp_path / "home")
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded, files, *results = done.stdout.splitlines()

    from transformers import AutoModelForImageTextToText

    ours = AutoModelForImageTextToText.from_pretrained(model)
    name, total = loaded.split()
    assert name == type(ours).__name__
    assert float(total) == pytest.approx(sum(weight.double().sum().item() for weight in ours.parameters()))
    assert not {"predictions.jsonl", "somebody.jpg"} & set(files.split()) and "checkpoints" not in files
    assert results == [
        "HuggingFaceM4/FairFace validation 0.8124 [0.79, 0.83]",
        "HuggingFaceM4/FairFace validation 0.8 [0.78, 0.82]",
    ]


def test_a_model_published_again_sends_what_is_new_and_takes_old_weights_away(hub, publish, client, model):
    first = publish(model, "faces/again")
    assert publish(model, "faces/again")["commit"] == first["commit"]
    client.run("""
        from huggingface_hub import HfApi
        for name in ("model-00001-of-00002.safetensors", "handler.py"):
            HfApi().upload_file(path_or_fileobj=b"old", path_in_repo=name, repo_id="faces/again")
    """)
    (model / "generation_config.json").write_text('{"max_new_tokens": 5}')
    published = publish(model, "faces/again")
    assert (published["new_files"], published["removed_files"]) == (1, 1)
    files = 'from huggingface_hub import HfApi; print(*HfApi().list_repo_files("faces/again"))'
    assert "handler.py" in client.run(files)[0]


def test_an_upload_that_breaks_off_before_its_commit_leaves_the_old_version(hub, publish, client, model):
    first = publish(model, "faces/broken")
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:-4] + b"\0\0\0\x40")
    hub.misbehave("POST .*/commit/", "403")
    assert "the token may not write to faces" in publish(model, "faces/broken")
    head = "from huggingface_hub import HfApi; print(HfApi().model_info('faces/broken').sha)"
    assert client.run(head)[0].strip() == first["commit"]
    sent = len(hub.requests("PUT", "/_storage/"))
    again = publish(model, "faces/broken")
    assert again["commit"] != first["commit"] and again["new_files"] == 1
    assert len(hub.requests("PUT", "/_storage/")) == sent  # the weights had arrived already


def test_another_kind_of_model_is_not_replaced_unasked(publish, model, client):
    client.run("""
        from huggingface_hub import HfApi
        HfApi().create_repo("faces/other")
        config = b'{"model_type": "llava"}'
        HfApi().upload_file(path_or_fileobj=config, path_in_repo="config.json", repo_id="faces/other")
    """)
    message = publish(model, "faces/other")
    assert re.search("faces/other .*'llava'.*'facemllm'.*--overwrite", message)
    client.run("""
        from huggingface_hub import HfApi
        HfApi().upload_file(path_or_fileobj=b"{", path_in_repo="config.json", repo_id="faces/other")
    """)
    message = publish(model, "faces/other")
    assert re.search(r"faces/other: .*config\.json\b.*--overwrite", message)


# -- what is looked at before anything is sent, in this process


def refused(folder, capsys, *words):
    assert main(["publish", "model", str(folder), "faces/unsent", "--dry-run", *map(str, words)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


@pytest.mark.parametrize("name", ["badid", "faces/", "faces/a/b"])
def test_a_name_without_owner_is_refused_in_a_dry_run_too(capsys, tmp_path, name):
    assert main(["publish", "model", str(tmp_path), name, "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and f"{name!r} " in message and "ORGANISATION/NAME" in message


def test_a_base_model_without_owner_is_refused(model, capsys):
    assert re.search("--base-model foo: .*ORGANISATION/NAME", refused(model, capsys, "--base-model", "foo"))


def test_a_folder_that_nobody_could_load_is_refused(model, capsys, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    broken = {name: shutil.copytree(model, tmp_path / name) for name in ("code", "weights", "cut", "state")}
    (broken["code"] / "vision_facemllm.py").unlink()
    weights = load_file(model / "model.safetensors")
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    save_file({**weights, name: torch.zeros(1)}, broken["weights"] / "model.safetensors", {"format": "pt"})
    with open(broken["cut"] / "model.safetensors", "r+b") as file:
        file.truncate(9000)
    (broken["state"] / "optimizer.pt").write_bytes(b"moments")

    assert re.search(r"code: .*vision_facemllm\.py\b.*save the model again", refused(broken["code"], capsys))
    assert re.search(f"weights: .*{re.escape(name)} .*shape", refused(broken["weights"], capsys))
    assert f"{broken['cut']}/model.safetensors: " in refused(broken["cut"], capsys)
    assert re.search(r"state: .*\(optimizer\.pt\).*give the run's own folder", refused(broken["state"], capsys))
    assert re.search(rf"{tmp_path}: .*config\.json\b.*give the folder", refused(tmp_path, capsys))


def test_numbers_of_another_model_or_of_half_an_evaluation_are_refused(model, report, tmp_path, capsys):
    def message_of(**changed):
        (report / "report.json").write_text(json.dumps(REPORT | changed))
        return refused(model, capsys, "--report", report)

    other = message_of(run={"settings": {"weights": "0123"}})
    assert re.search(f"--report {report}: .*runs/faces.*{model}.*run facemllm evaluate", other)
    assert re.search(f"--report {report}: .*run facemllm evaluate again", message_of(complete=False))
    assert re.search(rf"--report {tmp_path}: .*report\.json", refused(model, capsys, "--report", tmp_path))


def test_an_adapter_names_the_model_it_belongs_to(tmp_path, capsys):
    import numpy as np
    from safetensors.numpy import save_file

    config = {"peft_type": "LORA", "base_model_name_or_path": str(tmp_path / "base"), "r": 8}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "adapter_model.safetensors")
    header = f"license: mit\nbase_model: {tmp_path}\ntags:\n- base_model:adapter:{tmp_path}\n- lora"
    (tmp_path / "README.md").write_text(f"---\n{header}\n---\n\nWritten by hand.\n")
    assert "--base-model ORG/NAME" in refused(tmp_path, capsys)

    plan = publish_model(tmp_path, "faces/lora", base_model="OpenGVLab/InternVL3-1B-hf", dry_run=True)
    assert "base_model: OpenGVLab/InternVL3-1B-hf" in plan["card"] and "license: mit" in plan["card"]
    assert plan["card"].endswith("Written by hand.\n") and "InternVL3" in plan["load"][0]
    assert str(tmp_path) not in plan["card"] and "- lora" in plan["card"]
    assert set(plan["sent"]) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}


def test_a_path_of_the_publishers_machine_is_pointed_out(model, capsys):
    (model / "run.json").write_text(json.dumps({"data": [{"path": "/home/anna/faces/fairface"}]}))
    assert main(["publish", "model", str(model), "faces/unsent", "--dry-run"]) == 0
    assert "run.json names a path of this machine, /home/anna/faces/fairface" in capsys.readouterr().out


def test_code_that_is_older_than_the_package_is_pointed_out(model, capsys):
    assert "upgrade" not in " ".join(publish_model(model, "faces/unsent", dry_run=True)["notes"])
    config = json.loads((model / "config.json").read_text())
    del config["transformers_tested"]
    (model / "config.json").write_text(json.dumps(config))
    notes = publish_model(model, "faces/unsent", dry_run=True)["notes"]
    assert any(f"facemllm upgrade {model}" in note for note in notes)


@pytest.mark.parametrize(
    ("face_tasks", "question"),
    [
        (None, "Describe this face."),
        (
            {
                "race": {"question": "Race?", "options": ["a", "b"], "on_request": True},
                "hat": {"question": 'A "hat"?'},
            },
            'A \\"hat\\"?',
        ),
    ],
)
def test_the_card_shows_a_question_that_the_model_was_taught(face_tasks, question, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"face_tasks": face_tasks}))
    assert f'{{"type": "text", "text": "{question}"}}' in trained_model_card(tmp_path, "us/model")


def test_a_whole_model_with_a_base_is_no_adapter(model):
    card = publish_model(model, "faces/tuned", base_model="OpenGVLab/InternVL3-1B-hf", dry_run=True)["card"]
    assert "base_model: OpenGVLab/InternVL3-1B-hf" in card and "library_name: transformers" in card
    assert "tuned from [OpenGVLab/InternVL3-1B-hf]" in card and "LoRA" not in card


def test_results_join_a_card_and_leave_the_rest_of_it():
    card = (
        "---\nlicense: mit\nwidget:\n- text: hello\nmodel-index:\n- name: theirs\n  results:\n"
        "  - task:\n      type: image-text-to-text\n    dataset:\n      name: Other\n      type: other\n"
        "    metrics:\n    - type: accuracy\n      value: 0.5\n---\n\n# Title\n\nWords.\n"
    )
    once = with_results(card, eval_results([REPORT]), "ours")
    changed = json.loads(json.dumps(REPORT).replace("0.8124", "0.9"))
    twice = with_results(once, eval_results([changed]), "ours")
    assert twice.endswith("# Title\n\nWords.\n") and "widget:\n- text: hello" in twice and "name: theirs" in twice
    values = [float(line.split()[1]) for line in twice.splitlines() if line.strip().startswith("value:")]
    assert values == [0.5, 0.9, 0.8]


def test_figures_about_race_go_into_a_card_only_when_named():
    tasks = [{result.metric_args["task"] for result in eval_results([REPORT], race=race)} for race in (False, True)]
    assert tasks == [{"gender"}, {"gender", "race"}]


NOT_THE_MODELS = (
    "notes.py",
    "secret_config.json",
    "old.safetensors",
    "LICENSES.txt",
    "onnx/stray.onnx",
    "notes.jinja",
)


def test_only_what_the_code_and_the_index_name_is_sent(model, capsys):
    (model / "onnx").mkdir()
    for name in NOT_THE_MODELS:
        (model / name).write_text("{}")
    assert main(["publish", "model", str(model), "faces/model", "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert not set(NOT_THE_MODELS) & set(report["sent"])
    assert set(NOT_THE_MODELS) <= set(report["ignored"])
    assert {"config.json", "model.safetensors", "modeling_facemllm.py", "chat_template.jinja"} <= set(report["sent"])


@pytest.mark.parametrize("name", ["README.md", "model.safetensors", "vision_facemllm.py", "adapter", "run.json"])
def test_a_link_out_of_the_folder_is_not_followed(model, tmp_path, capsys, name):
    outside = tmp_path / "outside"
    if name == "adapter":
        outside.mkdir()
        (outside / "adapter_config.json").write_text("{}")
        shutil.copyfile(model / "model.safetensors", outside / "adapter_model.safetensors")
    else:
        outside.write_bytes((model / name).read_bytes() if (model / name).exists() else b"{}")
        (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(outside)
    assert main(["publish", "model", str(model), "faces/model", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert str(model / name) in error and str(outside) in error and "copy" in error


def test_a_card_that_is_no_text_is_one_line(model, capsys):
    (model / "README.md").write_bytes(b"\xff\xfe")
    assert main(["publish", "model", str(model), "anna/model", "--dry-run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{model / 'README.md'}: is no UTF-8 text" in line and "mend it" in line


def test_a_link_within_the_folder_is_sent(model, capsys):
    (model / "LICENSE").symlink_to("config.json")
    assert main(["publish", "model", str(model), "faces/model", "--dry-run", "--json"]) == 0
    assert "LICENSE" in json.loads(capsys.readouterr().out)["sent"]


@pytest.mark.parametrize("name", ["/etc/hosts.Config", "../other.Config", "no_such_module.Config"])
def test_code_that_is_named_elsewhere_is_refused(model, capsys, name):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": name}}))
    assert main(["publish", "model", str(model), "faces/model", "--dry-run"]) == 2
    assert ".py, which is not there" in capsys.readouterr().err


NO_HUB = {"HF_TOKEN": "hf_token", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
PUBLISH = (sys.executable, "-m", "facemllm", "publish", "model")


def test_what_goes_is_listed_before_the_hub_is_asked(model):
    command, environment = [*PUBLISH, str(model), "faces/model"], os.environ | NO_HUB
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, capture_output=True, text=True)
    *listed, mistake = done.stderr.splitlines()
    assert any(line.endswith("  model.safetensors") for line in listed)
    assert done.returncode == 2 and "127.0.0.1:9" in mistake


@pytest.mark.parametrize(
    ("answer", "words", "sends"), [("n", (), False), ("", (), False), ("y", (), True), ("", ("--yes",), True)]
)
def test_on_a_terminal_it_is_asked_before_anything_is_sent(model, answer, words, sends):
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    command, environment = [*PUBLISH, str(model), "faces/model", *words], os.environ | NO_HUB
    done = subprocess.run(command, stdin=theirs, stderr=theirs, env=environment, stdout=subprocess.PIPE, check=False)
    os.close(theirs)
    printed = b""
    with contextlib.suppress(OSError):  # where nobody has the other end any more
        while part := os.read(ours, 100_000):
            printed += part
    os.close(ours)
    assert done.returncode == 2
    assert (b"[y/N]" in printed) == (not words)
    assert (b"127.0.0.1:9" in printed) == sends and (b"nothing was sent" in printed) == (not sends)
