"""pipeline("face-analysis"): whatever photos come as, one plain dict per face comes out."""

import base64
import functools
import itertools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from modeling_facemllm import FaceAnalysisPipeline, FaceMLLMForConditionalGeneration
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion
from modeling_facemllm.errors_facemllm import ArgumentError
from modeling_facemllm.face_detection_facemllm import Face, crop
from tests.refusals import refuses

TASKS = ["gender", "eyeglasses"]
BOX = [8, 4, 30, 36]
POINTS = [[14, 14], [24, 14], [19, 20], [15, 27], [23, 27]]
WAITS_FOR = 200  # photos without faces that a stream may hold back


@pytest.fixture
def analyze(model, processor):
    return FaceAnalysisPipeline(model, processor=processor, device="cpu", detector="none", tasks=TASKS)


@pytest.fixture
def shown(model):
    """How many faces the vision tower saw in each pass."""
    passes = []
    model.model.vision_tower.register_forward_pre_hook(
        lambda tower, given, named: passes.append(len(named["pixel_values"])), with_kwargs=True
    )
    return passes


def test_a_model_says_how_much_it_sees_around_a_face_unless_the_caller_does(analyze, photo, monkeypatch):
    detector = {"detect": lambda image: [[16, 16, 24, 24]]}
    sizes = [analyze.preprocess(photo, **detector).faces[0].picture.size]
    monkeypatch.setattr(analyze.model.config, "face_margin", 0.0)
    sizes += [analyze.preprocess(photo, **detector, **given).faces[0].picture.size for given in ({}, {"margin": 0.5})]
    assert sizes == [(12, 12), (8, 8), (16, 16)]


@pytest.fixture
def file(tmp_path, photo):
    photo.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def close_to(faces):
    """Probabilities of the same face in another batch differ in their last digits."""
    return json.loads(json.dumps(faces), parse_float=lambda text: pytest.approx(float(text), abs=1e-4))


def url_of(file):
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=file.parent))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/{file.name}"


@pytest.mark.parametrize(
    "source",
    [
        str,
        lambda file: file,
        lambda file: file.read_bytes(),
        lambda file: base64.b64encode(file.read_bytes()).decode(),
        Image.open,
        lambda file: np.asarray(Image.open(file)),
        lambda file: torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1),
        lambda file: {"bytes": file.read_bytes(), "path": None},
        url_of,
    ],
    ids=["str", "path", "bytes", "base64", "pil", "array", "tensor", "undecoded", "url"],
)
def test_a_picture_may_come_as_anything(analyze, file, photo, source):
    assert analyze(source(file)) == analyze(photo)


def test_one_picture_gives_its_faces_as_plain_data(analyze, photo):
    faces = analyze(photo, tasks=["gender", "age", "yaw"], questions=["Who?"], max_new_tokens=3)
    assert json.loads(json.dumps(faces)) == faces
    (face,) = faces
    assert list(face) == ["box", "landmarks", "detection_score", "aligned", "tasks", "answers"]
    assert (face["box"], face["landmarks"], face["detection_score"], face["aligned"]) == (
        [0, 0, 48, 40],
        None,
        None,
        False,
    )
    assert list(face["tasks"]["gender"]) == ["label", "score", "scores"]
    age, yaw = face["tasks"]["age"], face["tasks"]["yaw"]
    assert (
        age["interval"][0] < age["age"] < age["interval"][1]
        and yaw["interval"][0] < yaw["degrees"] < yaw["interval"][1]
    )
    for answer in face["tasks"].values():
        assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["score"] == answer["scores"][answer["label"]] == max(answer["scores"].values())
    assert list(face["answers"]) == ["Who?"]


def test_scores_are_those_of_scoring(analyze, model, processor, photo):
    (face,) = analyze(photo, tasks=["gender"])
    question = ClosedQuestion("What is the gender of this person? Options: female, male.", ("female", "male"))
    (((female, male),),) = model.score_options(processor, [photo], [question])
    assert face["tasks"]["gender"]["scores"] == pytest.approx({"female": female, "male": male}, abs=1e-5)


def test_answers_in_a_batch_are_those_given_to_one_question_at_a_time(analyze, model, processor, photo, other_photo):
    questions = ["Glasses?", "What does this person wear on the head?"]
    processor.tokenizer.padding_side = "right"  # as in training
    together = analyze([photo, other_photo], tasks=[], questions=questions, max_new_tokens=6, batch_size=2)
    for image, (face,) in zip([photo, other_photo], together, strict=True):
        for question in questions:
            asked = [
                {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": question}]}
            ]
            inputs = processor.apply_chat_template(
                asked, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
            )
            tokens = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
            assert face["answers"][question] == processor.decode(tokens, skip_special_tokens=True).strip()


def test_a_list_gives_a_list_and_an_array_of_four_dimensions_too(analyze, photo, other_photo):
    assert analyze([photo, other_photo]) == [close_to(analyze(photo)), close_to(analyze(other_photo))]
    assert len(analyze(np.zeros((3, 20, 20, 3), np.uint8))) == 3
    assert analyze([]) == []


def test_a_stream_is_gone_through_as_its_results_are_taken(analyze, photo):
    taken = itertools.count()
    endless = (photo for _ in taken)
    results = analyze(endless, batch_size=2)
    assert next(taken) == 0
    assert len(list(itertools.islice(results, 10))) == 10
    assert next(taken) <= 14


def test_photos_without_faces_do_not_pile_up_behind_one_that_waits_for_its_batch(analyze, photo):
    taken = itertools.count()
    boxes = itertools.chain([[BOX]], itertools.repeat([]))
    results = analyze((photo for _ in taken), detector=boxes, batch_size=64)
    assert len(next(results)) == 1 and next(taken) < WAITS_FOR


class Rows:
    """What torch calls a data set: a length and items, and no end of its own."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        return self.rows[number % len(self.rows)]


def test_data_sets_are_streamed(analyze, photo, other_photo):
    rows = Rows([{"image": photo}, {"image": other_photo}])
    assert list(analyze(KeyDataset(rows, "image"))) == close_to(analyze([photo, other_photo]))
    assert len(list(analyze(iter([photo, other_photo])))) == 2


def test_faces_of_different_photos_share_passes(analyze, photo, other_photo, shown):
    photos = [photo, other_photo, photo, other_photo]
    boxes = [[BOX], [], [BOX, [0, 0, 20, 20], [5, 5, 25, 25]], [[0, 10, 30, 60], [3, 3, 9, 20]]]
    together = analyze(photos, detector=boxes, batch_size=3)
    assert shown == [3, 3]
    assert [len(faces) for faces in together] == [1, 0, 3, 2]
    assert together == [close_to(analyze(one, detector=box)) for one, box in zip(photos, boxes, strict=True)]


def test_threads_that_read_ahead_change_no_result(analyze, photo, other_photo):
    photos = [photo, other_photo] * 5
    assert analyze(photos, num_workers=3) == analyze(photos)
    assert len(list(itertools.islice(analyze((photo for _ in itertools.count()), num_workers=2), 5))) == 5


def test_nothing_is_asked_where_only_faces_are_wanted(analyze, photo, shown):
    (face,) = analyze(photo, tasks=[], detector=[BOX])
    assert face["box"] == BOX and face["tasks"] == {} and shown == []


@pytest.mark.parametrize(
    "detector",
    [
        [BOX],
        BOX,
        np.array([BOX]),
        [torch.tensor(BOX)],
        [(*BOX, 0.9)],
        [{"box": BOX, "landmarks": POINTS, "score": 0.9}],
        lambda image: [BOX],
        lambda image: [Face(tuple(BOX), np.array(POINTS, np.float32), 0.9)],
        lambda image: {"box": BOX},
    ],
)
def test_faces_may_be_found_by_anyone(analyze, photo, detector):
    (face,) = analyze(photo, detector=detector)
    assert face["box"] == BOX and face["tasks"] == close_to(analyze(crop(photo, BOX))[0]["tasks"])


def test_results_are_taken_as_boxes_again(analyze, photo):
    found = analyze(photo, detector=[{"box": BOX, "landmarks": POINTS, "score": 0.9}], tasks=[])
    assert analyze(photo, detector=found, tasks=[]) == found


def test_a_detector_sees_the_upright_picture_and_so_do_boxes_mean_it(analyze, photo, tmp_path):
    upright = photo.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 8  # turn by 90° counterclockwise to view
    photo.save(tmp_path / "turned.png", exif=exif)
    sizes = []
    (face,) = analyze(tmp_path / "turned.png", detector=lambda image: sizes.append(image.size) or [BOX])
    assert sizes == [(40, 48)]
    assert face["tasks"] == analyze(upright, detector=[BOX])[0]["tasks"]


def test_a_face_is_aligned_where_its_points_are_known(analyze, photo):
    known, unknown = analyze(photo, detector=[{"box": BOX, "landmarks": POINTS}, BOX], align=True)
    (plain,) = analyze(photo, detector=[BOX])
    assert (known["aligned"], unknown["aligned"]) == (True, False)
    assert unknown["tasks"] == close_to(plain["tasks"]) and known["tasks"] != plain["tasks"]
    (wide,) = analyze(photo, detector=[BOX], margin=1.0)
    assert wide["tasks"] != plain["tasks"]


def test_the_largest_faces_are_kept_in_the_order_in_which_they_were_found(analyze, photo):
    boxes = [[0, 0, 9, 9], [0, 0, 20, 20], [1, 1, 5, 5], [0, 0, 40, 40]]
    assert [face["box"][2] for face in analyze(photo, detector=boxes, max_faces=2)] == [20, 40]


def test_faint_detections_are_dropped(analyze, photo):
    boxes = [[0, 0, 9, 9, 0.4], [0, 0, 20, 20, 0.8], [0, 0, 5, 5]]
    assert [face["box"][2] for face in analyze(photo, detector=boxes, min_score=0.5)] == [20, 5]


def test_without_a_face_there_is_nothing_or_the_whole_picture_or_an_error(analyze, photo):
    assert analyze(photo, detector=[]) == []
    assert analyze(photo, detector=[], on_no_face="whole") == analyze(photo)
    with pytest.raises(ValueError, match="on_no_face='raise'"):
        analyze(photo, detector=[], on_no_face="raise")


def test_what_cannot_be_read_is_named(analyze, photo, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"image '.*broken\.jpg': "):
        analyze(tmp_path / "broken.jpg")
    with pytest.raises(ValueError, match=r"image 1: .*'.*broken\.jpg': "):
        analyze([photo, tmp_path / "broken.jpg"])


def test_one_bad_picture_does_not_lose_the_others(analyze, photo, tmp_path):
    def detect(image):
        if image.width == 1:
            raise RuntimeError("too thin")
        return [BOX]

    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    thin = Image.new("RGB", (1, 40))
    stream = analyze(iter([photo, tmp_path / "broken.jpg", None, thin, photo]), detector=detect, on_error="return")
    first, broken, nothing, thin, last = stream
    assert len(first) == 1 and first == last
    assert "broken.jpg" in broken["error"] and nothing.keys() == {"error"} and thin == {"error": "too thin"}


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("tasks", ["ages"], "age"),
        ("questions", [""], "a list of texts"),
        ("questions", 3, "a list of texts"),
        ("detector", None, "'yunet', 'none'"),
        ("detector", 3, "'yunet', 'none'"),
        ("detector", "./no.onnx", "give the path of face_detection_yunet_2023mar.onnx"),
        ("align", "yes", "True or False"),
        ("margin", -0.3, "-0.25 to 10"),
        ("on_no_face", "ignore", "'raise'"),
        ("on_error", "skip", "'return'"),
        ("max_faces", 0, "1 or more"),
        ("min_score", 2, "more than 0 and at most 1"),
        ("max_new_tokens", 0, "1 or more"),
        ("batch_size", 0, "1 or more"),
        ("num_workers", -1, "0 or more"),
        ("task", "age", "tasks"),
    ],
)
def test_a_bad_argument_is_told_before_anything_is_read(analyze, model, processor, name, value, remedy):
    never = (pytest.fail("a picture was read") for _ in range(1))
    with refuses(name, value, remedy):
        analyze(never, **{name: value})
    if name != "task":  # which is transformers' own here
        with refuses(name, value, remedy):
            FaceAnalysisPipeline(model, processor=processor, device="cpu", **{"detector": "none", name: value})


def test_a_detector_that_is_not_there_is_one_line(analyze, photo):
    with pytest.raises(ArgumentError) as refused:
        analyze(photo, detector="./no.onnx")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ("three", "detector='three': .*give the path"),
        ([[[0, 0, 0, 5]]], r"box=\[0, 0, 0, 5\]: .*\d+×\d+ pixels"),
        ([[[90, 90, 99, 99]]], r"box=\[90, 90, 99, 99\]: .*\d+×\d+ pixels"),
        ([[[1, 2]]], r"box=\[1, 2\]: .*\[x0, y0, x1, y1\]"),
        ([["x"]], r"box='x': .*\[x0, y0, x1, y1\]"),
    ],
)
def test_boxes_that_are_none_are_refused(analyze, photo, boxes, message):
    with pytest.raises(ValueError, match=message):
        analyze([photo], detector=boxes)


def test_boxes_go_with_their_picture(analyze, photo, model, processor):
    for pictures, boxes in (([photo, photo], [[BOX]]), ([photo], [[BOX], [BOX]])):
        with pytest.raises(ValueError, match=r"detector: .*\b1\b.*one entry for each"):
            analyze(pictures, detector=boxes)
    with refuses("detector", [BOX], "in the call"):
        FaceAnalysisPipeline(model, processor=processor, device="cpu", detector=[BOX])


def test_what_is_set_once_holds_until_a_call_says_otherwise(analyze, model, processor, photo):
    once = FaceAnalysisPipeline(
        model, processor=processor, device="cpu", detector="none", tasks="age", questions="Who?", max_new_tokens=2
    )
    (face,) = once(photo)
    assert list(face["tasks"]) == ["age"] and list(face["answers"]) == ["Who?"]
    (face,) = once(photo, tasks=["gender"], questions=None)
    assert list(face["tasks"]) == ["gender"] and face["answers"] == {}
    assert list(once(photo)[0]["tasks"]) == ["age"]


def test_a_model_is_asked_what_its_configuration_says(model, processor, photo, tmp_path):
    model.config.face_tasks = {
        "hat": {"question": "What hat?", "options": ["none", "cap"]},
        "race": {"question": "Race?", "options": ["a", "b"]},
    }
    model.save_pretrained(tmp_path)
    saved = FaceMLLMForConditionalGeneration.from_pretrained(tmp_path)
    analyze = FaceAnalysisPipeline(saved, processor=processor, device="cpu", detector="none")
    assert list(analyze(photo)[0]["tasks"]) == ["hat"]
    with refuses("tasks", ["expression"], "'expression'", "hat"):
        analyze(photo, tasks=["expression"])


def test_the_package_registers_it_for_its_own_models(model, processor, photo):
    analyze = pipeline("face-analysis", model=model, processor=processor, device="cpu", detector="none")
    assert isinstance(analyze, FaceAnalysisPipeline)
    assert list(analyze(photo)[0]["tasks"]) == ["gender", "age", "expression"]


def test_the_configuration_says_where_the_pipeline_is_after_classes_took_the_place_of_names(model, tmp_path):
    expected = {
        "face-analysis": {"impl": "pipeline_facemllm.FaceAnalysisPipeline", "pt": ["AutoModelForImageTextToText"]}
    }
    entry = model.config.custom_pipelines["face-analysis"]
    entry["pt"] = (FaceMLLMForConditionalGeneration,)  # as `pipeline` does
    entry["impl"] = "org/name--pipeline_facemllm.FaceAnalysisPipeline"
    model.save_pretrained(tmp_path)
    again = FaceMLLMForConditionalGeneration.from_pretrained(tmp_path)
    again.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["custom_pipelines"] == expected


def test_merging_an_adapter_keeps_pipeline_and_tasks(model, tmp_path):
    from peft import LoraConfig, get_peft_model

    model.config.face_tasks = {"hat": {"question": "What hat?", "options": ["none", "cap"]}}
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=r".*language_model.*q_proj"))
    adapted.merge_and_unload().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert list(config["custom_pipelines"]) == ["face-analysis"] and list(config["face_tasks"]) == ["hat"]
    assert (tmp_path / "pipeline_facemllm.py").is_file()


def test_a_saved_pipeline_loads_again(analyze, photo, tmp_path):
    analyze.save_pretrained(tmp_path)
    again = pipeline(
        "face-analysis", model=str(tmp_path), pipeline_class=FaceAnalysisPipeline, device="cpu", detector="none"
    )
    assert again(photo, tasks=TASKS) == close_to(analyze(photo))
