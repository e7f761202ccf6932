"""Scoring with an exported graph: what PyTorch's packed pass says, from one run of ONNX Runtime."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import Gemma2Config, Gemma3TextConfig, GPT2Config, LlamaConfig, Qwen2Config, Qwen3NextConfig

from facemllm.cli import UserError, main
from facemllm.evaluation.answerers import load_answerer
from facemllm.evaluation.answers import AskedFace, AskedQuestion
from facemllm_onnx import FaceMLLMForONNX
from facemllm_onnx.export.scoring_graph import Scoring
from facemllm_onnx.runtime.scoring import lay_out, stack
from modeling_facemllm import FaceMLLMForConditionalGeneration
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion, QuestionTokenizer, ask_with_images
from modeling_facemllm.errors_facemllm import PromptTooLongError
from modeling_facemllm.scoring_facemllm import option_log_likelihoods, score_options
from modeling_facemllm.token_tree_facemllm import CannotPack, pack_prompts
from tests.tiny import TEXT

AGE = ClosedQuestion("Age?", ("1", "10", "100", "adult"))
SMILE = ClosedQuestion("Does this person smile?", ("yes", "no"))
GLASSES = ClosedQuestion("Does this person wear glasses?", ("yes", "no", "sunglasses"))
WINDOW = 12  # shorter than any prompt
LANGUAGE_MODELS = {
    "llama": LlamaConfig(**TEXT),
    "qwen2-window": Qwen2Config(**TEXT, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "gemma2-window-softcap": Gemma2Config(**TEXT, sliding_window=WINDOW, final_logit_softcapping=5.0),
    "gemma3-window": Gemma3TextConfig(
        **TEXT, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"]
    ),
    "gpt2-absolute-positions": GPT2Config(
        vocab_size=256, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.2
    ),
}


@pytest.fixture(scope="module")
def runtime(onnx_folder):
    return FaceMLLMForONNX.from_pretrained(onnx_folder, provider="cpu", threads=1)


def assert_close(values, expected, tolerance=1e-4):
    assert [[len(question) for question in face] for face in values] == [
        [len(question) for question in face] for face in expected
    ]
    for face, right in zip(values, expected, strict=True):
        for question, likelihoods in zip(face, right, strict=True):
            assert question == pytest.approx(likelihoods, abs=tolerance)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_size": 1},
        {"pack_tokens": 40, "batch_size": 2},
        {"pack_tokens": 1},
    ],
    ids=str,
)
def test_log_likelihoods_are_those_of_pytorch(runtime, model, processor, pictures, settings):
    """Faces with the same questions and with their own, without a picture and with several, some asked nothing."""
    one, other, third = pictures
    images = [one, None, other, [one, third], third, one]
    questions = [[AGE, SMILE, GLASSES], [SMILE], [AGE, SMILE, GLASSES], [GLASSES, AGE], [AGE, SMILE, GLASSES], []]
    values = runtime.scorer.option_log_likelihoods(images, questions, **settings)
    assert_close(values, option_log_likelihoods(model, processor, images, questions, **settings))
    assert abs(values[0][0][0] - values[2][0][0]) > 1e-2  # the face matters, or nothing was tested


def test_probabilities_are_those_of_pytorch(runtime, model, processor, pictures):
    values = runtime.score(pictures, [AGE, SMILE])
    assert_close(values, score_options(model, processor, pictures, [AGE, SMILE]))
    assert all(sum(question) == pytest.approx(1) for face in values for question in face)


def test_a_question_beyond_the_context_is_refused_as_pytorch_refuses_it(runtime, model, processor, pictures):
    long = ClosedQuestion("Does this person smile? " * 30, ("yes", "no"))
    with pytest.raises(PromptTooLongError) as ours:
        runtime.score(pictures, [SMILE, long])
    with pytest.raises(PromptTooLongError) as theirs:
        score_options(model, processor, pictures, [SMILE, long])
    assert str(ours.value) == str(theirs.value) and ours.value.position_limit == 512


def test_the_folder_for_batches_scores_the_same(onnx_batch_folder, runtime, pictures):
    values = FaceMLLMForONNX.from_pretrained(onnx_batch_folder, provider="cpu", threads=1).score(
        pictures, [AGE, SMILE]
    )
    assert_close(values, runtime.score(pictures, [AGE, SMILE]))


@pytest.mark.parametrize("text", LANGUAGE_MODELS.values(), ids=LANGUAGE_MODELS)
def test_what_is_traced_keeps_to_each_language_models_windows_and_positions(text, model, processor, pictures):
    torch.manual_seed(0)
    vision = model.config.vision_config
    composed = FaceMLLMForConditionalGeneration.from_towers(
        vision, text, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    ).eval()
    tokens, questions = QuestionTokenizer(processor), (SMILE, AGE, GLASSES)
    image_token = composed.config.image_token_id
    asked = ask_with_images(tokens, questions, 1, image_token, processor.num_image_tokens)
    prefix, ((tree,), (shorter,)) = pack_prompts([asked, asked[:1]], image_token, 2048)
    rows = stack([lay_out(prefix, tree), lay_out(prefix, shorter)])
    pixel_values = torch.as_tensor(processor.image_processor(pictures[:2], return_tensors="pt")["pixel_values"])
    with torch.no_grad():
        output = Scoring(composed)(
            pixel_values=pixel_values, **{name: torch.from_numpy(values) for name, values in rows.items()}
        )
    expected = option_log_likelihoods(composed, processor, pictures[:2], [questions, questions[:1]])
    right = [value for face in expected for question in face for value in question]
    assert output["log_likelihoods"].tolist() == pytest.approx(right, abs=1e-4)


def test_a_language_model_without_attention_everywhere_has_no_graph(model, processor):
    text = Qwen3NextConfig(
        **TEXT,
        layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        mlp_only_layers=[0, 1],
    )
    composed = FaceMLLMForConditionalGeneration.from_towers(
        model.config.vision_config, text, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )
    with pytest.raises(CannotPack, match="linear_attention"):
        Scoring(composed)


def test_a_folder_without_the_graph_says_why(onnx_folder, tmp_path, pictures):
    folder = shutil.copytree(onnx_folder, tmp_path / "exported")
    (folder / "onnx" / "scoring.onnx").unlink()
    record = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps({**record, "no_scoring": "layers of linear_attention"}))
    with pytest.raises(ValueError, match=rf"{folder}: .*layers of linear_attention; let the model write"):
        FaceMLLMForONNX.from_pretrained(folder, provider="cpu").score(pictures, [SMILE])


def test_a_template_with_the_question_before_the_image_is_refused_in_words(onnx_folder, tmp_path, pictures):
    folder = shutil.copytree(onnx_folder, tmp_path / "exported")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}"
        "{% for p in m.content if p.type == 'image' %}<image>{% endfor %}{% endfor %}"
    )
    with pytest.raises(ValueError, match=r"chat template\b.*let the model write its answers"):
        FaceMLLMForONNX.from_pretrained(folder, provider="cpu").score(pictures, [SMILE, GLASSES])


def test_scoring_imports_neither_torch_nor_transformers(onnx_folder, runtime, pictures, tmp_path):
    pictures[0].save(tmp_path / "face.png")
    program = f"""
import json, sys
sys.modules["torch"] = sys.modules["transformers"] = None
from facemllm_onnx import FaceMLLMForONNX
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion
model = FaceMLLMForONNX.from_pretrained({str(onnx_folder)!r}, provider="cpu", threads=1)
print(json.dumps(model.score([{str(tmp_path / "face.png")!r}], [ClosedQuestion{SMILE.text, SMILE.options}])))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert_close(json.loads(ran.stdout), runtime.score(pictures[:1], [SMILE]), tolerance=1e-6)


@pytest.fixture(scope="module")
def answerers(onnx_folder, model_folder):
    return [
        load_answerer("onnx", str(onnx_folder), device="cpu", batch_size=2),
        load_answerer("torch", str(model_folder), device="cpu"),
    ]


@pytest.mark.parametrize("way", ["scoring", "generation"])
def test_an_export_answers_evaluation_as_the_model_does(answerers, pictures, way):
    hat = AskedQuestion("hat", "Hat?", ("none", "cap", "beanie"), max_new_tokens=6)
    smile = AskedQuestion("smiling", SMILE.text, SMILE.options, max_new_tokens=3)
    faces = [
        AskedFace("one", (pictures[0],), (hat, smile, hat)),
        AskedFace("two", tuple(pictures[1:]), (smile,)),
        AskedFace("none", (), (hat, smile)),
    ]
    given, right = (list(answerer.answer(faces, way)) for answerer in answerers)
    for of_face, expected in zip(given, right, strict=True):
        for answer, other in zip(of_face, expected, strict=True):
            assert answer.text == other.text
            if way == "scoring":
                assert answer.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_evaluate_takes_an_exported_folder_by_itself(onnx_folder, tmp_path):
    words = ["synthetic", "--limit", "3", "--tasks", "glasses", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["evaluate", str(onnx_folder), *words]) == 0
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["settings"]["backend"] == "onnx" and run["answerer"]["device"] == "cpu"
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 3


def test_an_adapter_has_to_be_merged_before_the_export(onnx_folder):
    with pytest.raises(UserError, match=r"--adapter lora: .*export the model with the adapter"):
        load_answerer("onnx", str(onnx_folder), adapter="lora")
