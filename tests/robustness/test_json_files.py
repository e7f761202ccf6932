"""FaceXBench and ShareGPT files with damage: what can be read is, the rest is counted, or the file is refused."""

import json

import pytest
from PIL import Image

from datasets_scripts.fairfacegpt.published import PublishedFaces
from datasets_scripts.fairfacegpt.questions import ASPECTS
from datasets_scripts.schema import CorpusError, Skipped
from facemllm.cli import UserError
from facemllm.evaluation.facexbench.reader import read_facexbench
from tests.facemllm.evaluation.facexbench import miniature
from tests.robustness.cases import assert_one_line, bounded, examples, failed_before, fuzzed
from tests.robustness.mutations import FRAGMENTS, mutated, mutated_json

COST = {"seconds": 5, "mebibytes": 200}
NAME = "rafdb_single_mcq_train"
QUESTION = {
    "image_paths": [f"images/{NAME}/question_1.png"],
    "question_text": "What is the expression here?",
    "options": ["Sad", "Happy", 3, "x"],
    "correct_answer_option": "A",
    "answer": "Sad",
}
FACEXBENCH = {
    "category": "attributes_expression",
    "sub-category": "expression",
    "dataset": "rafdb",
    "question_type": "MCQ",
    "num_images": "single",
    "prepend_text": "You have to tell an expression.",
    "context": "",
    "postpend_text": "Answer with a letter.",
    "questions": {"1": QUESTION, "2": QUESTION},
}
TURNS = [
    {"from": "human", "value": f"<image>{ASPECTS['face_pose'].question}"},
    {"from": "gpt", "value": "The face looks to the left."},
]
SHAREGPT = [
    {"conversations": TURNS, "image": "val/1.jpg"},
    {"conversations": TURNS * 2, "images": ["val/2.jpg"]},
    {"conversations": TURNS, "image": "val/3.jpg"},
]


@pytest.fixture(scope="module")
def facexbench(tmp_path_factory):
    root = miniature.write(tmp_path_factory.mktemp("facexbench"))
    for path in (root / "benchmark").glob("*.json"):
        path.unlink()
    check_facexbench(root, json.dumps(FACEXBENCH).encode())
    assert len(read_facexbench(root).questions) == 2
    return root


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    root = tmp_path_factory.mktemp("sharegpt")
    (root / "val").mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(root / f"val/{number}.jpg")
    check_sharegpt(root, json.dumps(SHAREGPT).encode())
    return root


def check_facexbench(root, content):
    (root / "benchmark" / f"{NAME}.json").write_bytes(content)
    with bounded("FaceXBench", **COST):
        try:
            bench = read_facexbench(root)
        except UserError as error:
            assert_one_line(error)
            return
        json.dumps(bench.counts(), allow_nan=False).encode()
        for reason in bench.malformed.values():
            assert_one_line(ValueError(reason))
        for question in bench.questions:
            for setting in ("zero-shot", "in-context"):
                assert question.prompt(setting).encode()
            assert question.id.encode() and question.expected in "ABCD"
            assert all(picture.mode == "RGB" for picture in bench.load_images(question))


def check_sharegpt(root, content):
    (root / "dataset.json").write_bytes(content)
    with bounded("ShareGPT", **COST):
        try:
            source = PublishedFaces(str(root / "dataset.json"), str(root))
            found = list(source.faces(0, len(source)))
        except CorpusError as error:
            assert_one_line(error)
            return
        assert len(found) == len(source)
        for face in found:
            if isinstance(face, Skipped):
                assert_one_line(ValueError(face.reason))
            else:
                json.dumps([face.id, face.url, [[pair.question, pair.answer] for pair in face.pairs]]).encode()
                assert face.pairs and face.url.encode() and len(face.pairs) <= source.slots


@fuzzed(text=mutated_json([FACEXBENCH]))
def test_hostile_facexbench(facexbench, text):
    check_facexbench(facexbench, text.encode("utf-8", "surrogatepass"))


@fuzzed(content=mutated([json.dumps(FACEXBENCH).encode()], FRAGMENTS))
@examples("content", failed_before("facexbench"))
def test_damaged_facexbench(facexbench, content):
    check_facexbench(facexbench, content)


@fuzzed(text=mutated_json([SHAREGPT]))
def test_hostile_sharegpt(faces, text):
    check_sharegpt(faces, text.encode("utf-8", "surrogatepass"))


@fuzzed(
    content=mutated(
        [json.dumps(SHAREGPT).encode(), b"\n".join(json.dumps(one).encode() for one in SHAREGPT)], FRAGMENTS
    )
)
@examples("content", failed_before("sharegpt"))
def test_damaged_sharegpt(faces, content):
    check_sharegpt(faces, content)
