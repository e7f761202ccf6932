"""What differs between releases of transformers: in one file, refused where wrong, warned of where unknown."""

import ast
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from packaging.specifiers import SpecifierSet

from modeling_facemllm import FaceMLLMConfig
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion
from modeling_facemllm.scoring_facemllm import score_each_alone, score_options
from modeling_facemllm.versions_facemllm import (
    CACHE_NAME,
    NEWEST_TESTED,
    OLDEST_TESTED,
    TESTED,
    cache_of,
    check_transformers,
    logger,
)

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("modeling_facemllm", "datasets_scripts", "recipes", "onnx", "facemllm")
VERSIONS = "modeling_facemllm/versions_facemllm.py"


@pytest.fixture
def warnings_of_versions(caplog, monkeypatch):
    """What is warned of; each text anew, although `warning_once` says it once in a process."""
    type(logger).warning_once.cache_clear()
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    caplog.set_level(logging.WARNING, logger="transformers")
    return lambda: [record.getMessage() for record in caplog.records if "newest release" in record.getMessage()]


@pytest.mark.parametrize("release", [OLDEST_TESTED, "5.0.0", "5.12.1", NEWEST_TESTED])
def test_a_tested_release_is_taken_without_a_word(release, warnings_of_versions):
    check_transformers("siglip_vision_model", installed=release)
    assert warnings_of_versions() == []


def test_a_newer_release_is_told_once_with_both_names(warnings_of_versions):
    for _ in range(3):
        check_transformers("siglip_vision_model", installed="5.99.1")
    (message,) = warnings_of_versions()
    assert "5.99.1" in message and NEWEST_TESTED in message and f'pip install "transformers{TESTED}"' in message


@pytest.mark.parametrize(
    ("release", "tower"),
    [("4.57.5", None), ("5.3.0", "siglip_vision_model"), ("5.4.0", "dinov3_vit"), ("5.11.0", "dinov3_vit")],
)
def test_a_release_that_answers_wrongly_is_refused_with_the_remedy(release, tower):
    with pytest.raises(ImportError, match=re.escape(release)) as refused:
        check_transformers(tower, installed=release)
    assert f'pip install -U "transformers{TESTED}"' in str(refused.value)


def test_a_release_that_is_wrong_for_one_tower_runs_the_others():
    check_transformers("siglip_vision_model", installed="5.8.1")
    check_transformers("dinov3_vit", installed="5.12.0")


def test_the_range_that_was_tested_is_in_the_configuration(model, tmp_path):
    model.save_pretrained(tmp_path)
    tested = SpecifierSet(json.loads((tmp_path / "config.json").read_text())["transformers_tested"])
    assert OLDEST_TESTED in tested and NEWEST_TESTED in tested and "5.3.0" not in tested
    assert FaceMLLMConfig.from_pretrained(tmp_path).transformers_tested == TESTED


class WithoutMessages(ast.NodeTransformer):
    """A message may name the installed release."""

    def visit_JoinedStr(self, node):
        return ast.copy_location(ast.Constant(""), node)


def asks_for_a_release(tree: ast.AST) -> list[int]:
    """Lines that compare a version of transformers, look a name up in it, or go on where it lacks one."""
    lines = []
    for node in ast.walk(WithoutMessages().visit(tree)):
        if isinstance(node, ast.Try):
            imported = " ".join(ast.unparse(part) for part in node.body)
            caught = " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)
            if re.search(r"(from|import) transformers", imported) and "ImportError" in caught:
                lines.append(node.lineno)
        elif isinstance(node, (ast.Compare, ast.Call, ast.Subscript)):
            text = ast.unparse(node)
            version = r"transformers\.__version__|version\('transformers'\)"
            reported = isinstance(node, ast.Call) and re.fullmatch(r"[\w.]*version\('transformers'\)", text)
            if re.search(version, text) and not reported:
                lines.append(node.lineno)
            if re.match(r"(hasattr|getattr)\(transformers\b", text):
                lines.append(node.lineno)
    return lines


def test_only_one_file_asks_for_a_release():
    asking = {
        f"{path.relative_to(ROOT)}:{line}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        for line in asks_for_a_release(ast.parse(path.read_text()))
        if path.relative_to(ROOT).as_posix() != VERSIONS
    }
    assert asking == set()


@pytest.mark.parametrize(
    "code",
    [
        "if transformers.__version__ >= '5': pass",
        "major = int(importlib.metadata.version('transformers').split('.')[0])",
        "new = hasattr(transformers, 'AutoModelForMultimodalLM')",
        "try:\n    from transformers.utils import torch_compilable_check\nexcept ImportError: pass",
    ],
)
def test_asking_for_a_release_is_seen(code):
    assert asks_for_a_release(ast.parse(code))


def test_outputs_have_the_librarys_names(model, processor, question, photo):
    inputs = processor.apply_chat_template(
        question, images=photo, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    for network, first in ((model, "logits"), (model.model, "last_hidden_state")):
        output = network(**inputs, use_cache=True)
        assert list(output) == [first, CACHE_NAME, "image_hidden_states", "image_outputs"]
        assert cache_of(output).get_seq_length() == inputs["input_ids"].shape[1]


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_the_cache_is_taken_under_both_names(name, model, processor):
    ids = processor.tokenizer("Does this person smile?", return_tensors="pt")["input_ids"]
    whole = model(input_ids=ids).logits[:, -1]
    begun = model(input_ids=ids[:, :-1], use_cache=True)
    last = model(input_ids=ids[:, -1:], **{name: cache_of(begun)}).logits[:, -1]
    torch.testing.assert_close(last, whole, atol=1e-5, rtol=1e-4)


def test_two_different_caches_are_refused(model, processor):
    ids = processor.tokenizer("Smile?", return_tensors="pt")["input_ids"]
    one, other = (cache_of(model(input_ids=ids, use_cache=True)) for _ in range(2))
    with pytest.raises(ValueError, match=r"cache and past_key_values.*give one of them"):
        model(input_ids=ids, cache=one, past_key_values=other)


def test_a_model_whose_cache_goes_unread_is_not_believed(model, processor, photo):
    """As on a release that renames the cache: the language model swallows the name that it does not know."""
    tower = type(model.model.language_model)

    class Forgetful(tower):
        def forward(self, *args, cache=None, past_key_values=None, **kwargs):
            return super().forward(*args, **kwargs)

    question = ClosedQuestion("Hat?", ("none", "no hat", "a cap"))
    model.score_options(processor, [photo], [question])
    forgetful = type(model)(model.config).eval()
    forgetful.model.language_model.__class__ = Forgetful
    for score in (score_options, score_each_alone):
        with pytest.raises(ValueError, match=r"\bcache\b") as refused:
            score(forgetful, processor, [photo], [question])
        assert f'pip install "transformers{TESTED}"' in str(refused.value)


def test_the_next_announced_removals_change_nothing(model, processor, photo, tmp_path):
    """Names that transformers says it will drop are dropped in a second process: it must answer as this one does."""
    folder, picture = tmp_path / "model", tmp_path / "photo.png"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    photo.save(picture)
    script = Path(__file__).with_name("after_removals.py")
    reports = []
    for removed in ("0", "1"):
        ran = subprocess.run([sys.executable, script, folder, picture, removed], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        reports.append(json.loads(ran.stdout.splitlines()[-1]))
    today, after = reports
    assert after["tokens"] == today["tokens"] and len(set(today["tokens"][0])) > 3
    for name in ("packed", "alone"):
        for question, expected in zip(after[name], today[name], strict=True):
            assert question == pytest.approx(expected, abs=1e-6)
