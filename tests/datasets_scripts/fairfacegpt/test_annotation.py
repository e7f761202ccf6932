"""FairFaceGPT from real faces of FairFace, asked of a real server that speaks the OpenAI chat protocol."""

import csv
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from datasets import Image, load_dataset

from datasets_scripts.annotator.settings import Annotator, InvalidAnswer
from datasets_scripts.fairfacegpt.annotation import annotate_fairfacegpt
from datasets_scripts.fairfacegpt.answers import check_answer, check_answer_without_race, contradictions
from datasets_scripts.fairfacegpt.questions import ASPECTS, chat, described_person
from datasets_scripts.schema import AGE_GROUPS
from datasets_scripts.sources.fairface import RACES
from tests.datasets_scripts.annotator.server import AnnotatorServer
from tests.refusals import refuses

FAIRFACE = Path(__file__).parents[4] / "shared/data/fairface"
SENTENCE = "The face is oval, with a broad forehead and a narrow chin."


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """A label file of eighteen real faces of FairFace's validation split: every age group of both genders."""
    if not FAIRFACE.is_dir():
        pytest.skip(f"FairFace's photographs may not be in the repository, and there are none at {FAIRFACE}")
    chosen = {}
    with open(FAIRFACE / "fairface_label_val.csv", newline="") as file:
        for row in csv.DictReader(file):
            chosen.setdefault((row["age"], row["gender"]), row)
    path = tmp_path_factory.mktemp("labels") / "val.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, next(iter(chosen.values())))
        writer.writeheader()
        writer.writerows(chosen.values())
    assert len(chosen) == 18
    return str(path)


def build(labels, out, server, **settings):
    annotator = Annotator(server.url, "describer-7b", date="2026-11-21", timeout=5)
    return annotate_fairfacegpt(FAIRFACE, out, annotator, labels=labels, progress=False, **settings)


@pytest.fixture(scope="module")
def built(labels, tmp_path_factory):
    """A corpus with pictures, its report, and what the server was asked."""
    folder = tmp_path_factory.mktemp("fairfacegpt")
    with AnnotatorServer(folder / "log") as server:
        report = build(labels, folder / "out", server, include_images=True)
    return folder / "out", report, server.requests()


def rows_of(out, config, tmp_path):
    return load_dataset(str(out), config, split="train", cache_dir=str(tmp_path / "cache"))


def test_every_face_is_asked_about_eight_aspects(built):
    _, report, requests = built
    assert report["annotation"]["faces"] == 18 and report["annotation"]["valid"] == len(requests) == 18 * 8
    assert {name: counts["kept"] for name, counts in report["pairs"].items()} == dict.fromkeys(ASPECTS, 18)
    assert set(Counter(request["picture"] for request in requests).values()) == {8}


def test_the_annotator_is_told_infants_children_and_an_open_age_group_in_english(built):
    _, _, requests = built
    words = " ".join(request["words"] for request in requests)
    for person in (
        "an infant girl, 0 to 2 years old",
        "an infant boy, 0 to 2 years old",
        "a girl, 3 to 9 years old",
        "a boy, 3 to 9 years old",
        "an adolescent girl, 10 to 19 years old",
        "a woman, 20 to 29 years old",
        "a man aged 70 or older",
    ):
        assert f"The picture shows {person}." in words
    assert "more than 70" not in words and not any(race in words for race in RACES)


@pytest.mark.parametrize("group", AGE_GROUPS)
@pytest.mark.parametrize("gender", ["female", "male"])
def test_the_stored_questions_know_nothing_of_the_person(group, gender):
    for name, aspect in ASPECTS.items():
        told = chat(name, {"age_group": group, "gender": gender}, {"type": "image_url"})[1]["content"][1]["text"]
        assert described_person({"age_group": group, "gender": gender}) in told and aspect.question in told
    questions = " ".join(aspect.question for aspect in ASPECTS.values()).lower().split()
    assert not {"woman", "man", "girl", "boy", "infant", "years", "aged"} & set(questions)


def test_the_stored_questions_are_the_published_ones():
    questions = [aspect.question for aspect in ASPECTS.values()]
    assert questions[0] == "Describe the demographic attributes of the image based on the visual information."
    assert questions[-1] == "Describe this image." and len(set(questions)) == 8


def test_every_config_loads_in_a_fresh_process(built, tmp_path):
    read = (
        "import sys; from datasets import load_dataset\n"
        "for config in sys.argv[3:]:\n"
        "    rows = load_dataset(sys.argv[1], config, split='train', cache_dir=sys.argv[2])\n"
        "    print(config, len(rows), *rows[0]['image'].size)\n"
    )
    configs = ("captions", "vqa", "pairs", "face_tasks")
    command = [sys.executable, "-c", read, str(built[0]), str(tmp_path), *configs]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told == ["captions 18 224 224", "vqa 18 224 224", "pairs 144 224 224", "face_tasks 18 224 224"]


def test_one_conversation_holds_all_eight_with_the_full_description_last(built, tmp_path):
    rows = rows_of(built[0], "vqa", tmp_path)
    orders = set()
    for row in rows:
        asked = tuple(turn["content"][-1]["text"] for turn in row["messages"][::2])
        assert sorted(asked) == sorted(aspect.question for aspect in ASPECTS.values())
        assert asked[-1] == "Describe this image."
        orders.add(asked)
    assert len(orders) > 1


def test_a_row_says_who_wrote_it_and_keeps_the_file_and_the_labels(built, tmp_path):
    row = rows_of(built[0], "captions", tmp_path).cast_column("image", Image(decode=False))[0]
    assert row["annotation"]["annotator"] == "describer-7b" and row["annotation"]["date"] == "2026-11-21"
    assert row["annotation"]["caption"] == row["messages"][1]["content"][0]["text"]
    assert row["labels"]["race"] is None and row["labels"]["age_group"] in AGE_GROUPS
    assert row["image"]["bytes"] == (FAIRFACE / row["url"]).read_bytes()


def test_pairs_repeat_the_picture_but_not_its_bytes(built):
    size = {config: sum(path.stat().st_size for path in built[0].glob(f"{config}/*")) for config in ("vqa", "pairs")}
    assert size["pairs"] < 1.5 * size["vqa"]


def test_the_card_warns_of_testing_on_the_split_and_says_how_race_is_handled(built):
    card = " ".join((built[0] / "README.md").read_text().split())
    assert "must not be tested on those faces" in card and "CC BY-SA" in card and "CC BY 4.0" in card
    assert "the annotator is not told FairFace's race label" in card and "describer-7b" in card


def test_pixels_are_left_out_unless_asked_for_and_are_had_without_asking_again(labels, tmp_path):
    with AnnotatorServer(tmp_path / "log") as server:
        build(labels, tmp_path / "out", server, configs=["captions"])
        without = rows_of(tmp_path / "out", "captions", tmp_path)
        asked = len(server.requests())
        build(labels, tmp_path / "out", server, configs=["captions"], include_images=True, overwrite=True)
        assert len(server.requests()) == asked
    assert without["image"][0] is None and without["url"][0].startswith("val/")
    with_pictures = load_dataset("parquet", data_files=str(tmp_path / "out/captions/*"), cache_dir=str(tmp_path / "b"))
    assert with_pictures["train"][0]["image"] is not None


def test_race_is_told_and_written_only_when_asked_for_by_name(labels, tmp_path):
    with AnnotatorServer(tmp_path / "log") as server:
        build(labels, tmp_path / "out", server, configs=["face_tasks"], race=True)
        words = " ".join(request["words"] for request in server.requests())
    assert "labelled Black by annotators" in words and "Do not speak of race" not in words
    rows = rows_of(tmp_path / "out", "face_tasks", tmp_path)
    assert None not in {row["race"] for row in rows["labels"]}
    assert {len(messages) for messages in rows["messages"]} == {6}
    assert "Article 5" in (tmp_path / "out/README.md").read_text()


def test_answers_that_cannot_be_kept_are_counted_and_leave_their_pair_out(labels, tmp_path):
    with AnnotatorServer(tmp_path / "log", "refusal:0.2,filter:0.1,length:0.1") as server:
        report = build(labels, tmp_path / "out", server)
    counted, kept = report["annotation"], sum(counts["kept"] for counts in report["pairs"].values())
    assert kept == counted["valid"] and kept + sum(counted["rejected"].values()) == 18 * 8 and kept < 18 * 8
    assert len(rows_of(tmp_path / "out", "pairs", tmp_path)) == kept
    turns = sum(len(messages) for messages in rows_of(tmp_path / "out", "vqa", tmp_path)["messages"])
    assert turns == 2 * kept
    assert f"Of 144 questions {kept} are here" in (tmp_path / "out/README.md").read_text()


def test_nothing_is_written_where_no_answer_could_be_kept(labels, tmp_path):
    with AnnotatorServer(tmp_path / "log", "refusal:1") as server:
        report = build(labels, tmp_path / "out", server, limit=2)
    assert report["corpus"] is None and report["annotation"]["valid"] == 0
    assert not (tmp_path / "out/README.md").exists()


def test_a_dry_run_asks_nothing_and_writes_nothing(labels, tmp_path):
    with AnnotatorServer(tmp_path / "log") as server:
        found = build(labels, tmp_path / "out", server, dry_run=True)["estimate"]
        assert server.requests() == []
    assert (found["faces"], found["requests"]) == (18, 144) and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(labels, tmp_path):
    with AnnotatorServer(tmp_path / "log", latency=0.02) as server:
        words = [FAIRFACE, "--labels", labels, "--out", tmp_path / "out", "--endpoint", server.url, "--model", "m"]
        command = [sys.executable, "-m", "facemllm", "annotate", "fairfacegpt", *map(str, words)]
        command += ["--concurrency", "2", "--limit", "8", "--config", "pairs"]
        first = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while len(server.requests()) < 20:
            assert first.poll() is None
            time.sleep(0.05)
        first.kill()
        first.wait()
        subprocess.run(command, check=True, capture_output=True)
        asked = Counter(request["question"] for request in server.requests())
    assert len(asked) == 8 * 8 and sum(asked.values()) <= 8 * 8 + 2  # those in flight are asked again
    assert len(rows_of(tmp_path / "out", "pairs", tmp_path)) == 8 * 8


def test_an_unknown_config_is_refused_before_anything_is_asked(labels, tmp_path):
    with refuses("configs", "stories", "captions, vqa, pairs, face_tasks"):
        annotate_fairfacegpt(FAIRFACE, tmp_path / "out", Annotator("http://nowhere", "m"), configs=["stories"])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("I'm sorry, but I can't help with identifying people in images.", "refused"),
        ("I cannot see the image that you are speaking of.", "did not see the picture"),
        ("Please provide the image and I will describe it for you.", "did not see the picture"),
        ("Oval face.", "too short"),
        ("The face is oval, with a broad", "cut off"),
        ("The face. " * 3 + "The face.", "repeats itself"),
        ("This person is seen with a cap" + " and is seen with a cap" * 6 + ".", "repeats itself"),
        ("The soft jaw is consistent with the provided age range.", "says what it was told"),
        ("The person, as you mentioned, is a boy with a soft jaw.", "says what it was told"),
        ("As indicated by the label, the jaw of this face is soft.", "says what it was told"),
        ("You told me that she is a woman; the jaw is soft.", "says what it was told"),
        ("This is Marie Curie, looking into the camera.", "names a person"),
        ("The man looks like the actor John Wayne in his youth.", "names a person"),
        ("Emma Watson looks into the camera.", "names a person"),
        ("The woman wears a hijab and smiles.", "speaks of religion"),
        ("The boy has Down syndrome and smiles.", "speaks of health"),
        ("The picture shows a gay man in a suit.", "speaks of sexual orientation"),
        ("The picture shows a handsome man.", "speaks of attractiveness"),
        ({"caption": "A face."}, "not a text"),
    ],
)
def test_an_answer_is_refused_for_a_countable_reason(answer, reason):
    with pytest.raises(InvalidAnswer) as refused:
        check_answer("facial_structure", answer)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (f"Sure! Here is the description: {SENTENCE}", SENTENCE),
        (f"As you mentioned, {SENTENCE[0].lower()}{SENTENCE[1:]}", SENTENCE),
        (f"Given that the person is a woman, {SENTENCE[0].lower()}{SENTENCE[1:]}", SENTENCE),
        (f"{SENTENCE} Based on the provided information, she is young.", f"{SENTENCE} She is young."),
        (f"  {SENTENCE}\n\n\n\nThe skin is smooth.\n", f"{SENTENCE}\n\nThe skin is smooth."),
    ],
)
def test_introductions_and_clauses_on_what_was_told_are_taken_off(answer, kept):
    assert check_answer("facial_structure", answer) == kept


@pytest.mark.parametrize(
    "answer",
    [
        "Based on the visual information, the light falls from the left.",
        "The black hair is parted, and the white shirt has an open collar.",
        "Depth is provided by shadows, and warmth is given by the light.",
        "The face looks happy, as indicated by the raised cheeks and the hint of a smile.",
    ],
)
def test_ordinary_descriptions_are_kept_as_they_are(answer):
    assert check_answer_without_race("lighting_and_image_quality", answer) == answer


@pytest.mark.parametrize(
    "words", ["a Caucasian woman", "a black man", "of East Asian descent", "a Latino boy", "a Thai girl"]
)
def test_race_in_an_answer_is_refused_unless_it_was_asked_for(words):
    answer = f"The picture shows {words} who looks into the camera."
    assert check_answer("demographic_attributes", answer) == answer
    with pytest.raises(InvalidAnswer, match="speaks of race or ethnicity"):
        check_answer_without_race("demographic_attributes", answer)


def test_answers_at_odds_with_the_labels_are_flagged():
    girl = {"gender": "female", "age_group": "3-9"}
    assert contradictions("face_pose", "The man turns his head.", girl) == [
        "face_pose: another gender than the label",
        "face_pose: a child described as grown up",
    ]
    assert contradictions("face_pose", "The girl turns her head to him.", girl) == []
