"""Whether exported graphs answer as the model does: the same tokens, and logits that differ by rounding only.

Both read the model's own greedy answers, token by token, so that every step of an answer is compared even where an
earlier one differed. The graphs are run as `runtime/model.py` runs them, one buffer for the cache included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import DynamicCache, PreTrainedModel, ProcessorMixin

from facemllm_onnx.export_location import GRAPH_FOLDER
from facemllm_onnx.runtime.decoding import STORAGE, Decoder, DecoderRun, run_on_host, to_float32, to_storage
from facemllm_onnx.runtime.scoring import OptionScorer
from facemllm_onnx.runtime.sessions import open_sessions
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion, question_messages
from modeling_facemllm.scoring_facemllm import option_log_likelihoods
from modeling_facemllm.versions_facemllm import cache_of

from .folder import ExportError
from .graphs import SCORING

NEW_TOKENS = 12
QUESTION = "Describe the face."
OPTIONS = ClosedQuestion("Does the person wear glasses?", ("yes", "no"))


@dataclass(frozen=True)
class Answer:
    """The model's greedy `tokens (batch, steps)` behind a batch of prompts, and `logits (steps, batch, vocab)`."""

    inputs: Mapping[str, np.ndarray]
    tokens: np.ndarray
    logits: np.ndarray


class Reference:
    """What the model says to the prompts that its graphs are asked.

    Args:
        batch: whether a batch padded on the left is among them.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, batch: bool):
        self.processor = processor
        size = model.config.image_size
        pictures = [_picture(size, seed) for seed in range(2)]
        task = next(iter((getattr(model.config, "face_tasks", None) or {}).values()), None)
        question = task["question"] if task else QUESTION
        prompts: dict[str, list[tuple[str, list[Image.Image]]]] = {
            "text": [(question, [])],
            "one image": [(question, pictures[:1])],
            "two images": [(question, pictures)],
        }
        if batch:
            prompts["padded batch"] = [(QUESTION, pictures[:1]), (f"{question} {QUESTION}", pictures), (question, [])]
        self.answers = {name: _answer(model, _tokenize(processor, rows)) for name, rows in prompts.items()}
        self.questions = [OPTIONS]
        if task:
            self.questions.append(ClosedQuestion(task["question"], tuple(task["options"])))
        self.faces = [pictures[0], pictures, None]
        self.scores = _flat(option_log_likelihoods(model, processor, self.faces, self.questions))


def compare(reference: Reference, folder: Path, record: Mapping[str, Any], provider: str = "cpu") -> dict[str, Any]:
    """Ask the graphs of an exported folder what the model was asked.

    Args:
        record: what `export.json` is to say; `graphs`, `cache` and `model` are read.
        provider: `cpu` or `cuda`.

    Returns:
        For each prompt `tokens` equal of all tokens, and the largest difference of a logit, relative to the largest
        logit of its step; for the scores, their largest difference in nats.

    Raises:
        ValueError: when a graph cannot be loaded here.
    """
    found: dict[str, Any] = {"provider": provider, "prompts": {}}
    names = [name for name in record["graphs"] if name != SCORING.name]
    sessions, _ = open_sessions({name: folder / GRAPH_FOLDER / f"{name}.onnx" for name in names}, provider, threads=1)
    decoder = Decoder(sessions["embed_tokens"], sessions["decoder_model_merged"], record["cache"], provider)
    for name, answer in reference.answers.items():
        logits = _read(sessions["vision_encoder"], decoder, answer, record["model"])
        found["prompts"][name] = _difference(answer.logits, logits)
    del sessions, decoder
    if SCORING.name in record["graphs"]:
        sessions, _ = open_sessions({SCORING.name: folder / GRAPH_FOLDER / SCORING.file_name}, provider, threads=1)
        sizes = (record["model"][name] for name in ("image_token_id", "num_image_tokens", "vocab_size"))
        scorer = OptionScorer(sessions[SCORING.name], reference.processor, *sizes)
        scores = _flat(scorer.option_log_likelihoods(reference.faces, reference.questions))
        found["scores"] = {"answers": len(scores), "difference": _rounded(np.abs(scores - reference.scores).max())}
    return found


def check(found: Mapping[str, Any], tolerance: float) -> None:
    """Raises `ExportError` when a logit is farther from the model's, relative to the largest one of its step."""
    for name, prompt in found["prompts"].items():
        if not prompt["difference"] <= tolerance:  # where it is, tokens differ only between two that are as good
            raise ExportError(
                f"the graphs do not answer as the model does: {name}, {prompt['equal']} of {prompt['tokens']} tokens "
                f"equal, logits differ by {prompt['difference']} of the largest ({tolerance:.1g} is allowed). Nothing "
                "was written; try another --backend, and please report the model"
            )
    scores = found.get("scores")
    # A score sums the logs of a few tokens, each within twice the tolerance of logits of about 10.
    if scores is not None and not scores["difference"] <= 20 * tolerance:
        raise ExportError(
            f"the scoring graph does not score as the model does: log-likelihoods differ by {scores['difference']} "
            "nats. Nothing was written; try another --backend, and please report the model"
        )


def _picture(size: int, seed: int) -> Image.Image:
    """A picture with coarse and fine structure, larger than the model's images."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((size + 11, size + 24), Image.Resampling.BICUBIC)


def _tokenize(processor: ProcessorMixin, rows: Sequence[tuple[str, list[Image.Image]]]) -> dict[str, torch.Tensor]:
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return processor.apply_chat_template(
        [question_messages(text, images) for text, images in rows],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


@torch.inference_mode()
def _answer(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> Answer:
    """Greedy, without what `generation_config` adds, and on beyond the end of a turn: every step counts."""
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    mask, cache = inputs["attention_mask"], DynamicCache()
    pixels = inputs.get("pixel_values")
    step: dict[str, Any] = {"input_ids": inputs["input_ids"]}
    if pixels is not None:
        step["pixel_values"] = pixels.to(model.dtype)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    tokens, logits = [], []
    for _ in range(NEW_TOKENS):
        outputs = model(
            **step, attention_mask=mask, position_ids=positions, cache=cache, use_cache=True, logits_to_keep=1
        )
        cache = cache_of(outputs)
        logits.append(outputs.logits[:, -1].float().cpu().numpy())
        chosen = outputs.logits[:, -1:].argmax(-1)
        tokens.append(chosen)
        step = {"input_ids": chosen}
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        positions = positions[:, -1:] + 1
    arrays = {name: value.cpu().numpy() for name, value in inputs.items()}
    return Answer(arrays, torch.cat(tokens, dim=1).cpu().numpy(), np.stack(logits))


def _read(vision: Any, decoder: Decoder, answer: Answer, model: Mapping[str, Any]) -> np.ndarray:
    """The graphs' logits behind the prompts and behind each of the model's tokens, `(steps, batch, vocab)`."""
    input_ids, mask = answer.inputs["input_ids"], answer.inputs["attention_mask"]
    embeds = decoder.embed(input_ids)
    if "pixel_values" in answer.inputs:
        pixels = to_storage(answer.inputs["pixel_values"], STORAGE[vision.get_inputs()[0].type])
        features = run_on_host(vision, pixels, (len(pixels), model["num_image_tokens"], decoder.hidden_size))
        features = to_storage(to_float32(features), decoder.kind)
        embeds[input_ids == model["image_token_id"]] = features.reshape(-1, decoder.hidden_size)
    with DecoderRun(decoder, mask, NEW_TOKENS) as run:
        logits = [run.read(embeds).copy()]
        for tokens in answer.tokens.T[:-1]:
            logits.append(run.step(tokens).copy())
    return np.stack(logits)


def _difference(expected: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    scale = np.abs(expected).max(-1)
    difference = np.abs(found - expected).max(-1) / scale
    equal = int((expected.argmax(-1) == found.argmax(-1)).sum())
    return {"tokens": int(scale.size), "equal": equal, "difference": _rounded(difference.max())}


def _flat(scores: Any) -> np.ndarray:
    return np.array([value for face in scores for question in face for value in question])


def _rounded(value: float) -> float:
    return float(f"{value:.2e}")
