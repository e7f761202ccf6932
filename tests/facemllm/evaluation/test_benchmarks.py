"""Every benchmark on its dataset in miniature: what is asked, what is expected, how answers become predictions."""

from collections import Counter
from dataclasses import replace

import pytest

from datasets_scripts.questions.conversations import TASKS, expected_answer
from datasets_scripts.questions.zero_shot import SEEN, UNSEEN
from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.protocol import Crop
from datasets_scripts.sources.readers import READERS
from facemllm.cli import UserError
from facemllm.evaluation.answers import Answer
from facemllm.evaluation.benchmarks import NAMES, Wanted, open_benchmark
from facemllm.evaluation.figures.task_figures import task_figures
from facemllm.evaluation.predict import predict
from facemllm.evaluation.predictions import PredictionLog, read_predictions
from facemllm.evaluation.stub_answerer import Known, StubAnswerer
from facemllm.evaluation.task_protocols import AgeInYears, HeadPose, middles
from modeling_facemllm.face_detection_facemllm import crop_box
from modeling_facemllm.image_loading_facemllm import load_image
from tests.datasets_scripts.sources.miniatures import WRITERS


def miniature(name, folder):
    folder.mkdir(exist_ok=True)
    WRITERS[name](folder)
    return str(folder)


def taught_answers(benchmark, face):
    """What a corpus of this dataset teaches a model to answer, by the question's task."""
    answers = {}
    for task in benchmark.tasks:
        expected, name = task.expected(face.labels), task.spec.name
        if expected is None:
            continue
        if task.spec.kind == "units":
            answers |= {f"{name}/{unit}": "Yes." if active else "No." for unit, active in expected.items()}
            answers[name] = TASKS[name].answer({int(unit): active for unit, active in expected.items()})
        elif task.spec.kind == "angles":
            answers |= {part: expected_answer(part, face.labels) for part in expected}
            answers[name] = expected_answer(name, face.labels)
        else:
            answers[name] = str(round(expected)) if task.spec.kind == "number" else expected
    return answers


def all_right(benchmark):
    """A stub that gives every answer as it is taught, with certainty."""
    faces = [face for face in benchmark.faces() if isinstance(face, LabelledFace)]
    return StubAnswerer({face.id: Known(taught_answers(benchmark, face)) for face in faces}, rate=1.0)


def ask(benchmark, answerer, folder, ways=("scoring", "generation")):
    with PredictionLog(folder / "predictions.jsonl") as log:
        counts = predict(benchmark, answerer, ways, log)
    return counts, list(read_predictions(folder / "predictions.jsonl"))


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_answers_that_corpora_teach_are_read_as_right_in_both_ways(name, tmp_path):
    benchmark = open_benchmark(name, Wanted(root=miniature(name, tmp_path / name)))
    counts, predictions = ask(benchmark, all_right(benchmark), tmp_path)
    assert counts.faces > 0 and not counts.unreadable
    assert {entry.task for entry in predictions} <= {task.spec.name for task in benchmark.tasks}
    for task in benchmark.tasks:
        for way in ("scoring", "generation"):
            rows = [entry for entry in predictions if (entry.task, entry.way) == (task.spec.name, way)]
            if not rows:
                continue  # an attribute that no face of the miniature has
            figures = task_figures(task.spec, rows, resamples=10)
            best = {"number": 0.5, "angles": 0.5 if way == "generation" else 40}.get(task.spec.kind)
            value = figures["metrics"][figures["primary"]]["value"]
            if best is not None:
                assert value <= best
            elif task.spec.kind != "units":
                assert value == 1.0
            assert all(row.predicted == row.expected for row in rows if task.spec.kind == "units")
            assert figures["unparsed"]["count"] == 0


def test_every_dataset_with_a_reader_has_a_protocol_in_words():
    assert set(READERS) < set(NAMES)
    assert all(reader.PROTOCOL.split in reader.SPLITS and reader.PROTOCOL.note for reader in READERS.values())


def test_a_folder_that_holds_a_part_of_the_official_split_says_how_much(tmp_path):
    root = miniature("fairface", tmp_path / "fairface")
    rows = len(READERS["fairface"](root, "validation"))
    told = f"The folder's labels have {rows} rows of this split, the official split 10,954."
    assert told in open_benchmark("fairface", Wanted(root=root, limit=1)).protocol
    assert "the official split" not in open_benchmark("fairface", Wanted(root=root, split="train")).protocol


def test_the_baseline_is_the_training_splits_best_constant_answer(tmp_path):
    benchmark = open_benchmark("utkface", Wanted(root=miniature("utkface", tmp_path / "utkface")))
    train = [face.labels for face in READERS["utkface"](str(tmp_path / "utkface"), "train").faces()]
    ages = sorted(labels["age"] for labels in train)
    majority = benchmark.majority()
    assert majority["age_years"] in (ages[len(ages) // 2], ages[(len(ages) - 1) // 2])
    assert majority["gender"] == max(sorted({"female", "male"}), key=Counter(face["gender"] for face in train).get)
    for name in ("aflw2000", "bp4d"):  # no training split, and a baseline that needs none: every unit active
        assert open_benchmark(name, Wanted(root=miniature(name, tmp_path / name))).majority() == {}


def test_race_makes_groups_where_it_is_labelled_and_is_asked_only_when_it_is_named(tmp_path):
    root = miniature("fairface", tmp_path / "fairface")

    def races(**wanted):
        benchmark = open_benchmark("fairface", Wanted(root=root, **wanted))
        faces = [face for face in benchmark.faces() if isinstance(face, LabelledFace)]
        shown = any("race" in benchmark.groups_of(face.labels) for face in faces)
        return shown, "race" in [task.spec.name for task in benchmark.tasks]

    assert races() == (True, False)
    assert races(race=False) == (False, False)
    assert races(tasks=("race",)) == (True, True)
    with pytest.raises(UserError, match=r"--tasks race: .*RAF-DB"):
        open_benchmark("raf_db", Wanted(root=miniature("raf_db", tmp_path / "raf"), tasks=("race",)))


@pytest.mark.parametrize("name", ["celeba", "maad_face", "lfwa"])
def test_zero_shot_attributes_are_the_unseen_ones_of_whichever_dataset_the_folder_is(name, tmp_path):
    root = miniature(name, tmp_path / name)
    benchmark = open_benchmark("zero_shot_attributes", Wanted(root=root))
    tasks = {task.spec.name for task in benchmark.tasks}
    assert tasks <= set(UNSEEN) and not tasks & set(SEEN) and READERS[name].TITLE in benchmark.title
    with pytest.raises(UserError, match=r"--tasks bald: .*goatee"):
        open_benchmark("zero_shot_attributes", Wanted(root=root, tasks=("bald",)))


def test_action_units_are_those_that_published_figures_are_about(tmp_path):
    disfa = open_benchmark("disfa", Wanted(root=miniature("disfa", tmp_path / "disfa")))
    assert disfa.tasks[0].spec.options == ("1", "2", "4", "6", "9", "12", "25", "26")
    face = next(face for face in disfa.faces() if isinstance(face, LabelledFace))
    assert disfa.protocol.startswith("Fold 1 of 3") and "instead" not in disfa.protocol
    second = open_benchmark("disfa", Wanted(root=str(tmp_path / "disfa"), split="train", options={"fold": "2"}))
    assert second.protocol.endswith("Here instead: split train, fold=2.")
    intensities = {str(unit): level for unit, level in face.labels["action_units"].items()}
    expected = disfa.tasks[0].expected(face.labels)
    assert expected == {unit: intensities[unit] >= 2 for unit in expected}


def test_a_face_is_cut_out_of_the_picture_where_the_dataset_gives_its_box(tmp_path):
    sizes = []

    class Watching(StubAnswerer):
        def answer(self, faces, way):
            sizes.extend(face.images[0].size for face in faces)
            yield from super().answer(faces, way)

    benchmark = open_benchmark("affectnet", Wanted(root=miniature("affectnet", tmp_path / "affectnet")))
    benchmark = replace(benchmark, crop=Crop(margin=0.0))  # the miniature's pictures have little around the box
    face = next(benchmark.faces())
    left, top, right, bottom = crop_box(load_image(face.image).size, face.box, margin=0.0)
    ask(benchmark, Watching(all_right(benchmark).known), tmp_path, ways=("scoring",))
    assert set(sizes) == {(right - left, bottom - top)} != {load_image(face.image).size}


@pytest.mark.parametrize(
    ("name", "people"),
    [
        ("disfa", {"SN001", "SN003"}),
        ("bp4d", {"F001", "F007"}),
        ("biwi", {"F02", "F06", "M01", "M06", "M10", "M14"}),
        ("maad_face", {"n000001", "n000009"}),
    ],
)
def test_frames_and_photos_of_one_person_are_named_as_such_for_the_intervals(name, people, tmp_path):
    benchmark = open_benchmark(name, Wanted(root=miniature(name, tmp_path / name)))
    _, predictions = ask(benchmark, all_right(benchmark), tmp_path, ways=("scoring",))
    named = {entry.extra["person"] for entry in predictions}
    assert named and named <= people


def test_a_person_of_morph_is_the_same_whatever_zeros_stand_before_the_number():
    person = READERS["morph"].PROTOCOL.person
    assert person("morph/009055_1M54") == person("morph/9055_2M55") == "9055"


def test_an_age_is_the_expectation_over_what_the_model_was_asked_for():
    halves = {"20": 0.5, "30": 0.5}
    assert AgeInYears().read("scoring", [Answer(probabilities=halves)], 25.0).predicted == 25
    (question,) = AgeInYears("groups").questions("scoring", 25.0)
    shares = {option: 0.5 if option in ("20-29", "30-39") else 0.0 for option in question.options}
    assert AgeInYears("groups").read("scoring", [Answer(probabilities=shares)], 25.0).predicted == 30
    assert AgeInYears("groups").read("generation", [Answer("30-39")], 25.0).predicted == 35


def test_an_angle_is_the_expectation_over_the_middles_of_its_bins():
    asked = HeadPose().questions("scoring", {})
    shares = [dict.fromkeys(question.options, 0.0) for question in asked]
    shares[0] |= {"to the front": 0.5, "to the left": 0.5}
    shares[1] |= {"up": 1.0}
    shares[2] |= {"upright": 1.0}
    reading = HeadPose().read("scoring", [Answer(probabilities=share) for share in shares], {})
    assert reading.predicted == {"yaw": 17.5, "pitch": middles("pitch")["up"], "roll": 0}


def test_drawn_faces_are_made_on_the_spot_the_same_each_time():
    first, second = (list(open_benchmark("synthetic", Wanted(limit=3)).faces()) for _ in range(2))
    assert [face.labels for face in first] == [face.labels for face in second] and len(first) == 3
    assert first[0].image.tobytes() == second[0].image.tobytes()
    for size in ("0", "-3", "100000"):
        with pytest.raises(UserError, match=f"--set size={size}: .*16 to 4096"):
            open_benchmark("synthetic", Wanted(options={"size": size}))
    small = next(open_benchmark("synthetic", Wanted(limit=1, options={"size": "32", "seed": "1"})).faces())
    assert small.image.size == (32, 32)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({}, "raf_db .*--root DIR"),
        ({"root": "nowhere"}, r"nowhere\b.*folder of RAF-DB"),
        ({"split": "train2"}, "split='train2'.*train.*test"),
        ({"tasks": ("hat",)}, r"tasks='hat'.*facemllm data NAME --help"),
        ({"tasks": ("gender",)}, "--tasks gender: .*2 faces.*expression"),
        ({"tasks": ("valence_arousal",)}, "'valence_arousal'.*name valence and arousal"),
        ({"options": {"fold": "2"}}, "--set fold=2: .*aligned"),
        ({"options": {"aligned": "maybe"}}, "--set aligned=maybe: .*true or false"),
    ],
)
def test_what_does_not_fit_is_told_with_the_remedy(wanted, told, tmp_path):
    root = None if not wanted else miniature("raf_db", tmp_path / "raf")
    with pytest.raises((UserError, CorpusError), match=told):
        open_benchmark("raf_db", Wanted(**{"root": root, **wanted}))
