"""Questions that the model cannot answer: a share of the turns, never about what the corpus trains."""

import pytest

from datasets_scripts.questions import held_out
from datasets_scripts.questions.attribute_tasks import ATTRIBUTE_TASKS
from datasets_scripts.questions.claims import spoken_forms
from datasets_scripts.questions.conversations import UNANSWERABLE, AskedFaces
from datasets_scripts.questions.tasks import TASKS
from datasets_scripts.questions.unanswerable import CANNOT_TELL, TOPICS, open_topics
from tests.datasets_scripts.questions.asked_faces import Faces, pairs, plain, rows, stated_options
from tests.refusals import refuses

TRAINED = {text for topic in TOPICS.values() for text in (*topic.questions, *topic.checks)}


def unanswered(conversations):
    return [(question, answer) for row in conversations for question, answer in pairs(row) if answer in CANNOT_TELL]


def test_there_are_60_of_them_and_a_tenth_more_is_held_out():
    others = {text for texts in held_out.TOPICS.values() for text in texts}
    assert len({plain(text) for text in TRAINED}) >= 60 and len(others) >= 0.1 * len(TRAINED)
    assert set(held_out.TOPICS) <= set(TOPICS)
    assert not {plain(form) for text in TRAINED for form in spoken_forms(text)} & set(map(plain, others))


def test_none_is_a_question_of_a_task_that_it_is_not_closed_by():
    for name, task in TASKS.items():
        asked = {plain(text) for text in getattr(task, "all_questions", ())}
        asked |= {plain(text) for text in getattr(task, "claims_by_question", ())}
        asked |= {plain(text) for text in held_out.TASKS.get(name, ())}
        for topic in open_topics([name]):
            texts = (*TOPICS[topic].questions, *TOPICS[topic].checks, *held_out.TOPICS.get(topic, ()))
            assert not asked & {plain(form) for text in texts for form in spoken_forms(text)}, (name, topic)


def test_the_tasks_of_a_topic_exist():
    known = {*TASKS, *(task.group for task in TASKS.values() if task.group)}
    assert {name for topic in TOPICS.values() for name in topic.tasks} <= known


@pytest.mark.parametrize("config", ["vqa", "face_tasks"])
def test_there_are_none_unless_they_are_wanted(config):
    assert unanswered(rows(config, count=300)) == []


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("turns", [1, 3, 8, 40])
@pytest.mark.parametrize("config", ["vqa", "face_tasks"])
def test_the_share_of_turns_is_met(config, turns, share):
    found = rows(config, turns=turns, unanswerable=share, count=1000)
    total = [len(pairs(row)) for row in found]
    assert max(total) <= turns
    assert len(unanswered(found)) / sum(total) == pytest.approx(share, abs=0.04)


def test_captions_and_the_zero_shot_split_have_none():
    assert unanswered(rows("captions", unanswerable=0.5, count=200)) == []
    asked = AskedFaces(Faces(200), "zero_shot", ("attributes",), unanswerable=0.5)
    assert unanswered(asked.records(0, 200)) == []


def test_some_of_them_state_options_where_all_others_do():
    found = unanswered(rows("face_tasks", unanswerable=0.3, count=500))
    stated = sum(stated_options(question) is not None for question, _ in found) / len(found)
    assert 0.6 < stated < 0.85
    assert all(
        stated_options(question) is None for question, _ in unanswered(rows("vqa", unanswerable=0.3, count=300))
    )


def test_every_answer_is_given_and_every_topic_asked():
    found = unanswered(rows("vqa", unanswerable=0.5))
    assert {answer for _, answer in found} == set(CANNOT_TELL)
    forms = {form: topic for topic, row in TOPICS.items() for text in (*row.questions, *row.checks)
             for form in spoken_forms(text)}  # fmt: skip
    assert {forms.get(question) for question, _ in found} - {None} == set(TOPICS)


def test_no_held_out_question_is_asked():
    others = {text for texts in held_out.TOPICS.values() for text in texts}
    for config in ("vqa", "face_tasks"):
        questions = [question for question, _ in unanswered(rows(config, unanswerable=0.5))]
        assert not any(text in question for text in others for question in questions)


@pytest.mark.parametrize(
    ("task", "topics"),
    [
        ("wearing_hat", {"headwear"}),
        ("headwear", {"headwear"}),
        ("black_hair", {"hair"}),
        ("hairstyle", {"hair"}),
        ("facial_hair", {"beard"}),
        ("sunglasses", {"eyewear"}),
        ("brown_eyes", {"eyes"}),
        ("expression", {"expression", "emotion"}),
        ("smiling", {"expression", "emotion"}),
        ("wearing_necktie", {"clothes"}),
        ("wearing_lipstick", {"makeup"}),
        ("outdoor", {"place"}),
        ("race", {"race", "nationality"}),
        ("gender", set()),
        ("picture_colors", set()),
    ],
)
def test_a_task_of_the_corpus_closes_the_topics_that_it_answers(task, topics):
    assert set(TOPICS) - set(open_topics([task])) == topics


def test_a_corpus_of_all_attributes_asks_only_what_no_attribute_is():
    left = set(open_topics(ATTRIBUTE_TASKS))
    assert {"identity", "race", "religion", "nationality", "health", "life", "contact", "time"} <= left
    assert left.isdisjoint({"headwear", "hair", "beard", "eyewear", "eyes", "clothes", "jewelry", "makeup", "place"})


def test_who_somebody_is_stays_unanswerable_whatever_is_trained():
    assert "identity" in open_topics(TASKS)
    assert "race" in open_topics(name for name in TASKS if name != "race")


def test_a_face_of_one_turn_may_have_no_task():
    tasks = {row["task"] for row in rows("face_tasks", turns=1, unanswerable=0.5, count=200)}
    assert UNANSWERABLE in tasks and "attributes" not in tasks


def test_the_wording_follows_the_faces_id_and_is_part_of_the_fingerprint():
    asked = AskedFaces(Faces(50), "vqa", ("gender", "age"), unanswerable=0.3)
    assert list(asked.records(0, 50))[20:40] == list(asked.records(20, 40))
    assert asked.describe()["unanswerable"] == 0.3


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with refuses("unanswerable", pytest.approx(share, nan_ok=True), "0 to 0.5"):
        AskedFaces(Faces(1), "vqa", unanswerable=share)
