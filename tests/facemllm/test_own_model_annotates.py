"""This project's own model, behind `transformers serve`, is the annotator of real faces."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from datasets import load_dataset

from facemllm.cli import main

FAIRFACE = Path(__file__).parents[3] / "shared/data/fairface"
LAUNCHER = Path(__file__).with_name("serve_face_mllm.py")
DESCRIPTION = "The face is seen from the front, in soft light."


@pytest.fixture(scope="module")
def describer(tiny_towers, tmp_path_factory):
    """The folder of a tiny Face-MLLM that has learned one sentence to say about every face."""
    import torch
    from PIL import Image

    from datasets_scripts.fairfacegpt.questions import ASPECTS, chat
    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

    vision, text = map(str, tiny_towers)
    torch.manual_seed(0)
    processor = FaceMLLMProcessor.from_towers(vision, text, pixel_shuffle_factor=2)
    model = FaceMLLMForConditionalGeneration.from_towers(
        vision, text, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )
    model.config.text_config.max_position_embeddings = 2048  # the longest question, with its schema, has some 520
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    answer = {"role": "assistant", "content": [{"type": "text", "text": DESCRIPTION}]}
    losses = [1.0] * 8
    for step in range(300):
        picture = {"type": "image", "image": Image.new("RGB", (64, 64), (40 * step % 255, 120, 90))}
        labels = {"age_group": "20-29", "gender": ("female", "male")[step % 2]}
        messages = [*chat(list(ASPECTS)[step % 8], labels, picture), answer]
        inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
        asked = processor.apply_chat_template(
            messages[:-1], tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )
        scored = inputs["input_ids"].clone()
        scored[:, : asked["input_ids"].shape[1]] = -100
        loss = model(**inputs, labels=scored).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if max(losses[-8:]) < 0.01:
            break
    assert max(losses[-8:]) < 0.01
    folder = tmp_path_factory.mktemp("describer")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def endpoint(describer):
    """The URL of `transformers serve`, which runs the code in the model's folder and cannot import the package."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(LAUNCHER), "serve", str(describer), "--trust-remote-code", "--device", "cpu"]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=describer,
        stdout=subprocess.DEVNULL,
        stderr=(log := open(describer / "serve.log", "w+")),  # noqa: SIM115
    )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except (urllib.error.URLError, TimeoutError):
                log.seek(0)
                assert server.poll() is None and time.monotonic() < deadline, log.read()[-2000:]
                time.sleep(0.3)
        yield url
    finally:
        server.kill()
        server.wait()
        log.close()


@pytest.mark.slow
@pytest.mark.skipif(
    not FAIRFACE.is_dir(),
    reason=f"real faces are described, and FairFace's are no part of the repository: none at {FAIRFACE}",
)
def test_a_corpus_is_made_of_what_our_own_model_says_of_real_faces(endpoint, describer, tmp_path):
    words = ["--endpoint", endpoint, "--model", describer, "--limit", "4", "--temperature", "none"]
    words += ["--max-tokens", "60", "--concurrency", "2", "--include-images", "--out", tmp_path / "out"]
    assert main(["annotate", "fairfacegpt", str(FAIRFACE), *map(str, words)]) == 0
    for config, rows, turns in (("captions", 4, 2), ("vqa", 4, 16), ("pairs", 32, 2), ("face_tasks", 4, 4)):
        corpus = load_dataset(str(tmp_path / "out"), config, split="train", cache_dir=str(tmp_path / "c"))
        assert len(corpus) == rows and {len(messages) for messages in corpus["messages"]} == {turns}
    assert corpus[0]["image"].size == (224, 224)
    captions = load_dataset(str(tmp_path / "out"), "captions", split="train", cache_dir=str(tmp_path / "c"))
    assert {entry["caption"] for entry in captions["annotation"]} == {DESCRIPTION}
    assert {entry["annotator"] for entry in captions["annotation"]} == {str(describer)}
