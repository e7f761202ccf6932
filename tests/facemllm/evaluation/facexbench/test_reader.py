"""The public folder of FaceXBench is read as it is, and what cannot be asked is named."""

import json

import pytest

from facemllm.cli import UserError
from facemllm.evaluation.facexbench.reader import CATEGORIES, read_facexbench
from tests.facemllm.evaluation.facexbench import miniature as miniature


@pytest.fixture
def root(tmp_path):
    return miniature.write(tmp_path / "facexbench")


def by_id(bench):
    return {question.id: question for question in bench.questions}


def test_every_sub_category_is_read_and_the_folder_benchmark_may_be_given_itself(root):
    bench = read_facexbench(root)
    read = {(question.file.category, question.file.sub_category) for question in bench.questions}
    assert read == {(category, name) for category, names in CATEGORIES.items() for name in names}
    assert len(read) == 14
    assert by_id(read_facexbench(root / "benchmark")).keys() == by_id(bench).keys()


def test_questions_that_lack_a_picture_are_left_out_and_counted(root):
    counts = read_facexbench(root).counts()
    assert counts["questions_listed"] == 28 and counts["questions_asked"] == 26
    assert counts["left_out_for_missing_images"] == counts["missing_images"] == 2
    assert counts["missing_by_file"] == {"imdb_single_mcq": 1, "lfw_multiple_mcq": 1}


def test_a_question_about_no_picture_is_asked_without_its_black_one_where_that_is_missing(root):
    bench = read_facexbench(root)
    questions = by_id(bench)
    assert questions["tools_retrieval/1"].image_paths and not questions["tools_retrieval/2"].image_paths
    assert bench.counts()["asked_without_black_placeholder"] == 1


def test_the_prompt_has_the_published_order_and_integers_are_written_out(root):
    question = by_id(read_facexbench(root))["jhucrowd_single_mcq_test/1"]
    words = f"What is the crowd_counting here?\n{miniature.POSTPEND}\n(A) 60\n(B) 65\n(C) 64\n(D) 63\n"
    assert question.prompt("zero-shot") == words
    assert question.prompt("in-context") == f"You have to perform the task of crowd_counting.\n{words}"


def test_the_tools_description_comes_first_in_both_settings(root):
    question = by_id(read_facexbench(root))["tools_retrieval/1"]
    assert question.prompt("zero-shot").startswith(f"{miniature.CONTEXT}\nWhat is the")
    assert question.prompt("in-context").startswith(f"{miniature.CONTEXT}\nYou have to perform")


def test_pictures_are_opened_only_when_asked_for_and_a_broken_one_is_named(root):
    broken = root / "benchmark" / "images" / "utkface_multiple_mcq_gender_test" / "question_2_3.png"
    broken.write_bytes(b"\x89PNG broken")
    bench = read_facexbench(root)
    questions = by_id(bench)
    assert [image.mode for image in bench.load_images(questions["utkface_multiple_mcq_gender_test/1"])] == ["RGB"] * 2
    with pytest.raises(ValueError, match=r"question_2_3\.png"):
        bench.load_images(questions["utkface_multiple_mcq_gender_test/2"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"options": ["a", "b", "c"]}, "has 3 options"),
        ({"correct_answer_option": "E"}, "correct_answer_option is 'E'"),
        ({"image_paths": []}, "names no picture"),
        ({"question_text": None, "options": None}, "NoneType"),
        ({"image_paths": ["../secret.png"]}, "outside"),
        ({"image_paths": ["/etc/passwd"]}, "outside"),
        ({"image_paths": [5]}, "outside"),
        ({"correct_answer_option": "x" * 70_000}, "correct_answer_option is 'xx"),
        ({"question_text": "\ud800"}, "surrogates"),
        ({"options": ["a", "b", "c", "\udfff"]}, "surrogates"),
    ],
)
def test_a_malformed_question_is_named_and_the_others_are_read(root, change, reason):
    path = root / "benchmark" / "lapa_single_mcq.json"
    content = json.loads(path.read_text())
    content["questions"]["2"] |= change
    path.write_text(json.dumps(content))
    bench = read_facexbench(root)
    assert list(bench.malformed) == ["lapa_single_mcq/2"] and reason in bench.malformed["lapa_single_mcq/2"]
    assert len(bench.malformed["lapa_single_mcq/2"]) <= 300
    assert "lapa_single_mcq/1" in by_id(bench)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"category": "x", "sub-category": "age"}'])
def test_a_malformed_file_is_named_and_the_others_are_read(root, text):
    (root / "benchmark" / "broken.json").write_text(text)
    bench = read_facexbench(root)
    assert list(bench.malformed) == ["broken.json"] and len(bench.questions) == 26


@pytest.mark.parametrize("change", [{"dataset": ["rafdb"]}, {"context": {"a": 1}}, {"postpend_text": 5}])
def test_what_all_questions_of_a_file_share_is_text(root, change):
    path = root / "benchmark" / "lapa_single_mcq.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    bench = read_facexbench(root)
    assert list(bench.malformed) == ["lapa_single_mcq.json"] and next(iter(change)) in bench.malformed[path.name]


def test_one_sub_category_can_be_read_alone(root):
    bench = read_facexbench(root, ["age", "expression"])
    assert {question.file.sub_category for question in bench.questions} == {"age", "expression"}
    with pytest.raises(UserError, match=r"--tasks wrinkles: .*age, gender"):
        read_facexbench(root, ["wrinkles"])


def test_another_folder_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"--root .*github\.com/Kartik-3004/facexbench"):
        read_facexbench(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"--root .*\b0 questions\b.*config\.json: .*'category'"):
        read_facexbench(tmp_path)
