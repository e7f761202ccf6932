"""From logits to the next tokens: transformers' logits processors, in its order, on NumPy."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

NOT_DONE_HERE = {
    "num_beams": 1,
    "min_p": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "guidance_scale": None,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": None,
    "bad_words_ids": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "stop_strings": None,
}
"""What else `generate` of transformers does, with the values that change nothing."""

OF_DRAWING = ("temperature", "top_k", "top_p")


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The defaults are those of transformers where no configuration says otherwise.

    Args:
        do_sample: draw from the distribution; otherwise take the most probable token.
        temperature: above 0; divides the logits.
        top_k: draw from that many of the most probable tokens; 0 for all.
        top_p: draw from the most probable tokens that make up this share, from 0 to 1.
        repetition_penalty: above 0; what prompt and answer hold becomes that much less probable above 1.

    Raises:
        ValueError: when a number is out of its range.
    """

    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self):
        for name in (*OF_DRAWING, "repetition_penalty"):
            if not isinstance(value := getattr(self, name), Real) or isinstance(value, bool):
                raise ValueError(f"{name}={value!r}: give a number")
        ranges = {
            "temperature": (self.temperature > 0, "a number above 0; for the most probable token do_sample=False"),
            "top_k": (self.top_k >= 0 and int(self.top_k) == self.top_k, "a whole number, 0 for all tokens"),
            "top_p": (0 <= self.top_p <= 1, "a number from 0 to 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "a number above 0, 1 for none"),
        }
        for name, (fits, wanted) in ranges.items():
            if not fits:
                raise ValueError(f"{name}={getattr(self, name)}: give {wanted}")

    @classmethod
    def from_config(cls, generation_config: Mapping[str, Any]) -> "Sampling":
        """What a `generation_config.json` says; `None` counts as absent. Warns of what is not done here."""
        ignored = {
            name: generation_config[name]
            for name, neutral in NOT_DONE_HERE.items()
            if generation_config.get(name) not in (None, neutral)
        }
        if ignored:
            logger.warning(
                "generation_config.json says %s, which the ONNX runtime does not do; "
                "facemllm_onnx.transformers_model.ONNXFaceMLLM does, with transformers",
                ", ".join(f"{name}={value}" for name, value in ignored.items()),
            )
        settings = {field.name: generation_config.get(field.name) for field in fields(cls)}
        return cls(**{name: value for name, value in settings.items() if value is not None})

    def changed(self, **values: Any) -> "Sampling":
        """The same with other values; `None` leaves one as it is. Warns of those that have no effect."""
        values = {name: value for name, value in values.items() if value is not None}
        changed = replace(self, **values)
        if not changed.do_sample and (
            idle := [name for name in OF_DRAWING if getattr(changed, name) != getattr(self, name)]
        ):
            logger.warning(
                "%s: no effect without do_sample=True", ", ".join(f"{name}={values[name]}" for name in idle)
            )
        return changed


class TokenChooser:
    """Chooses the next token of each row.

    Args:
        prompt: int `(batch, length)`; padding and unknown tokens negative.
        vocab_size: tokens there are.
        seeds: of the random numbers of each row.
    """

    def __init__(
        self, sampling: Sampling, prompt: np.ndarray, vocab_size: int, seeds: Sequence[np.random.SeedSequence]
    ):
        self.sampling = sampling
        self._random = [np.random.default_rng(seed) for seed in seeds] if sampling.do_sample else []
        self._seen = None
        if sampling.repetition_penalty != 1.0:
            self._seen = np.zeros((len(prompt), vocab_size), dtype=bool)
            rows, columns = np.nonzero(prompt >= 0)
            self._seen[rows, prompt[rows, columns]] = True

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """int64 `(batch,)` from float32 `(batch, vocab_size)`, which are numbers."""
        if self._seen is not None:
            penalty = np.float32(self.sampling.repetition_penalty)
            logits = np.where(self._seen, np.where(logits < 0, logits * penalty, logits / penalty), logits)
        if self.sampling.do_sample:
            tokens = np.array(
                [_draw(row, self.sampling, random) for row, random in zip(logits, self._random, strict=True)]
            )
        else:
            tokens = logits.argmax(axis=-1)
        if self._seen is not None:
            self._seen[np.arange(len(tokens)), tokens] = True
        return tokens


def next_token_probabilities(logits: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Temperature, top-k, top-p and softmax: the tokens that may come next, and how probable each is.

    Args:
        logits: float32 `(vocab_size,)`.
    """
    tokens, scores = np.arange(len(logits)), logits / np.float32(sampling.temperature)
    if 0 < sampling.top_k < len(scores):
        least = np.partition(scores, len(scores) - sampling.top_k)[len(scores) - sampling.top_k]
        tokens = np.flatnonzero(scores >= least)  # more than k, where several are as probable
        scores = scores[tokens]
    if sampling.top_p < 1.0:
        probabilities = _softmax(scores)
        # All that are this improbable make up less than what is dropped: only the others need sorting.
        likely = np.flatnonzero(probabilities >= min((1 - sampling.top_p) / len(scores), probabilities.max()))
        order = likely[probabilities[likely].argsort()]
        behind = probabilities.sum() - probabilities[likely].sum() + probabilities[order].cumsum()
        behind[-1] = np.inf  # the most probable one always stays
        kept = np.sort(order[behind > 1 - sampling.top_p])
        tokens, scores = tokens[kept], scores[kept]
    return tokens, _softmax(scores)


def _draw(logits: np.ndarray, sampling: Sampling, random: np.random.Generator) -> int:
    tokens, probabilities = next_token_probabilities(logits, sampling)
    sums = probabilities.cumsum(dtype=np.float64)
    drawn = np.searchsorted(sums, random.random() * sums[-1], side="right")
    # Rounding may lift the product to the whole sum, which lies behind the last token.
    return int(tokens[min(drawn, sums.argmax())])


def _softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()
