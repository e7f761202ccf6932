"""All questions about a face in one pass: the prefix is run once, then one row with the rest of all prompts.

`token_tree_facemllm` says how the row is laid out and what each of its tokens sees.
"""

from collections.abc import Sequence
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import numpy as np
import torch
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from .closed_questions_facemllm import ClosedQuestion, QuestionTokenizer, TokenizedQuestion, ask_with_images
from .finite_numbers_facemllm import check_finite
from .option_scores_facemllm import Scores, batches, by_question
from .token_tree_facemllm import CannotPack, TokenTree, pack_prompts

HEAD_NUMBERS = 2**24
"""Logits that are held at a time, in numbers: 64 MiB."""


class PrefixCache(DynamicCache):
    """Keys and values of the shared prefix. Once `closed`, a row of questions reads them and leaves nothing behind."""

    closed = False

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        if not self.closed:
            return super().update(key_states, value_states, layer_idx, *args, **kwargs)
        layer = self.layers[layer_idx]
        return torch.cat([layer.keys, key_states], dim=-2), torch.cat([layer.values, value_states], dim=-2)


_agreed: WeakKeyDictionary = WeakKeyDictionary()
"""For each model: with which attention, number type and lengths (in powers of two) a packed row gave what a plain
prompt gives."""
_refused: WeakKeyDictionary = WeakKeyDictionary()
"""For each model: with which attention it did not, and why."""


class PackedScorer:
    """Log-likelihoods of all answers about faces, in batches of faces.

    Whatever a language model may do with masks and positions, it is not trusted: the first row of each order of
    length is compared with a plain prompt.

    Args:
        batch_size (`int`): faces that are run together.
        pack_tokens (`int`): tokens of a row.

    Raises:
        CannotPack: here and in `score`, when the model or the prompts allow no packing.
    """

    def __init__(
        self, model: PreTrainedModel, processor: Any, tokenize: QuestionTokenizer, batch_size: int, pack_tokens: int
    ):
        if getattr(model.config, "model_type", None) != "facemllm":
            raise CannotPack(f"{type(model).__name__} is no Face-MLLM")
        self.model, self.processor, self.tokenize = model, processor, tokenize
        self.batch_size, self.pack_tokens = batch_size, pack_tokens
        self.image_token, self.num_image_tokens = model.config.image_token_id, model.config.num_image_tokens
        self.text_config = model.get_decoder().config
        self.position_limit = getattr(self.text_config, "max_position_embeddings", None)
        self.windows = attention_windows(self.text_config)
        weight = model.get_input_embeddings().weight
        self.device, self.dtype = device_of_inputs(weight), weight.dtype

    def _refuse(self, reason: str) -> NoReturn:
        """Remember that this model cannot be packed, and say so."""
        _refused.setdefault(self.model, {})[self.text_config._attn_implementation] = reason
        raise CannotPack(f"{self.text_config.model_type} {reason}")

    def score(self, faces: Sequence[tuple], questions: Sequence[tuple[ClosedQuestion, ...]]) -> Scores:
        """The log-likelihood of each option of each question about each face, `faces` being their images."""
        known = _refused.get(self.model, {}).get(self.text_config._attn_implementation)
        if known is not None:
            self._refuse(known)
        results: Scores = [[] for _ in faces]
        for batch in batches(faces, questions, self.batch_size):
            alike = all(questions[face] == questions[batch[0]] for face in batch)
            asked = [
                ask_with_images(
                    self.tokenize,
                    questions[face],
                    len(faces[face]),
                    self.image_token,
                    self.num_image_tokens,
                    self.position_limit,
                )
                for face in (batch[:1] if alike else batch)
            ]
            images = [image for face in batch for image in faces[face]]
            sums = self._score_batch(images, len(batch), asked)
            for row, face in enumerate(batch):
                results[face] = by_question(sums[row], asked[row % len(asked)])
        return results

    def _score_batch(self, images: list, num_faces: int, asked: list[list[TokenizedQuestion]]) -> list[list[float]]:
        """The log-likelihoods of each face's answers; `asked` holds one list for all faces, or one for each."""
        prefix, trees = pack_prompts(asked, self.image_token, self.pack_tokens)
        length = len(prefix)
        features = self._encode(images)
        cache = PrefixCache()
        last = self._read(prefix, num_faces, features, cache)[:, -1:]
        self._close(cache, length)
        counts = [sum(len(one.answers) for one in theirs) for theirs in asked]
        sums = [torch.zeros(counts[face % len(asked)], dtype=torch.float64) for face in range(num_faces)]
        for number in range(max(map(len, trees))):
            row = [theirs[number] if number < len(theirs) else TokenTree() for theirs in trees]
            hidden = torch.cat([last, self._read_row(row, num_faces, length, cache)], dim=1)
            self._compare(row, hidden, prefix, features)
            for face in range(num_faces):
                self._add_log_probabilities(row[face % len(row)], hidden[face], sums[face])
        return [values.tolist() for values in sums]

    def _encode(self, images: list) -> Any:
        """The images' features, as `mm_encoder_outputs` takes them."""
        if not images:
            return None
        pixel_values = torch.as_tensor(self.processor(images=images, return_tensors="pt")["pixel_values"])
        return {"image": self.model.get_image_features(pixel_values.to(self.device), return_dict=True)}

    def _forward(self, **inputs) -> torch.Tensor:
        try:
            return self.model.model(**inputs, return_dict=True).last_hidden_state
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # Some language models know no such mask, cache or positions. If it is something else, asking each
            # question by itself will raise it again; since it may lie in the prompts, it is not remembered.
            raise CannotPack(f"{self.text_config.model_type} reads no packed row: {error}") from error

    def _read(self, tokens: Sequence[int], num_faces: int, features: Any, cache: PrefixCache | None) -> torch.Tensor:
        """Hidden states of plain prompts of equal tokens, `(faces, tokens, hidden_size)`."""
        return self._forward(
            input_ids=torch.tensor(tokens, device=self.device).expand(num_faces, -1),
            mm_encoder_outputs=features,
            cache=cache,
            use_cache=cache is not None,
        )

    def _close(self, cache: PrefixCache, length: int) -> None:
        layers = getattr(cache, "layers", [])
        if len(layers) != self.text_config.num_hidden_layers or any(
            type(layer) is not DynamicLayer or layer.get_seq_length() != length for layer in layers
        ):
            self._refuse("does not keep keys and values of every token")
        cache.closed = True

    def _read_row(self, row: list[TokenTree], num_faces: int, length: int, cache: PrefixCache) -> torch.Tensor:
        """Hidden states of the nodes of `row`, one tree or one for each face: `(faces, nodes, hidden_size)`."""
        size = max(map(len, row))
        if size == 0:
            return torch.empty(num_faces, 0, self.text_config.hidden_size, device=self.device, dtype=self.dtype)
        ids = torch.zeros(len(row), size, dtype=torch.long)
        positions = torch.full((len(row), size), length)
        for index, tree in enumerate(row):
            ids[index, : len(tree)] = torch.tensor(tree.tokens, dtype=torch.long)
            positions[index, : len(tree)] += torch.tensor(tree.depths, dtype=torch.long)
        masks = {window: self._mask(row, size, length, window) for window in set(self.windows.values())}
        mask = next(iter(masks.values()))
        if len(self.windows) > 1:
            mask = {kind: masks[window] for kind, window in self.windows.items()}
        return self._forward(
            input_ids=ids.to(self.device).expand(num_faces, -1),
            attention_mask=mask,
            position_ids=positions.to(self.device),
            cache=cache,
            use_cache=True,
        )

    def _mask(self, row: list[TokenTree], size: int, length: int, window: int | None) -> torch.Tensor:
        """What the attention's logits are increased by, `(trees, 1, nodes, prefix + nodes)`."""
        seen = torch.from_numpy(np.stack([tree.visible(size, length, window) for tree in row]))[:, None]
        values = torch.zeros(seen.shape, dtype=self.dtype).masked_fill_(~seen, torch.finfo(self.dtype).min)
        return values.to(self.device)

    def _compare(self, row: list[TokenTree], hidden: torch.Tensor, prefix: Sequence[int], features: Any) -> None:
        """See that the last node of the longest tree is what a plain prompt gives, once for each order of length.

        Raises:
            CannotPack: when it is not.
            NoNumbersError: when the plain prompt gives none.
        """
        face = max(range(len(row)), key=lambda number: len(row[number]))
        tree = row[face]
        agreed = _agreed.setdefault(self.model, set())
        circumstances = self.text_config._attn_implementation, self.dtype, (len(prefix) + len(tree)).bit_length()
        if not len(tree) or circumstances in agreed:
            return
        if features is not None:
            encoded = features["image"].pooler_output
            per_face = len(encoded) // len(hidden)
            of_face = encoded[face * per_face : (face + 1) * per_face]
            features = {"image": type(features["image"])(pooler_output=of_face)}
        plain = self._read([*prefix, *tree.path(len(tree) - 1)], 1, features, None)[0, -1]
        check_finite(self.model, plain)
        if not difference(hidden[face, len(tree)], plain) < agreement(self.dtype):
            self._refuse("does not keep to the masks or positions of a packed row")
        agreed.add(circumstances)

    def _add_log_probabilities(self, tree: TokenTree, hidden: torch.Tensor, sums: torch.Tensor) -> None:
        """Add the log-probabilities of the answers' tokens to the answers' `sums`, float64 `(answers,)`.

        The head, wide as the vocabulary, runs only where a token is predicted, and on some rows at a time.
        """
        if not tree.predicted:
            return
        nodes, ids, answers = torch.tensor(tree.predicted).T
        rows, row_of = nodes.unique(return_inverse=True)
        states = hidden[rows.to(hidden.device) + 1]
        step = max(1, HEAD_NUMBERS // self.text_config.vocab_size)
        for start in range(0, len(rows), step):
            logits = self.model.compute_logits(states[start : start + step]).float()
            here = (row_of >= start) & (row_of < start + step)
            chosen = (row_of[here] - start).to(logits.device)
            values = logits[chosen, ids[here].to(logits.device)] - logits.logsumexp(-1)[chosen]
            sums.index_add_(0, answers[here], values.double().cpu())


def device_of_inputs(holder: torch.Tensor | PreTrainedModel) -> torch.device:
    """The device of a weight or a model; the CPU where weights are offloaded, whose hooks take inputs from there."""
    return torch.device("cpu") if holder.device.type == "meta" else holder.device


def difference(found: torch.Tensor, plain: torch.Tensor) -> float:
    """How far `found` is from `plain`, relative to its length; NaN where one of them holds one."""
    return ((found.double() - plain.double()).norm() / plain.double().norm()).item()


def agreement(dtype: torch.dtype) -> float:
    """How far, relative to its length, a packed or cached result may be from the plain one; rounding explains less."""
    return 5e-3 if dtype in (torch.float32, torch.float64) else 0.1


def attention_windows(config: PretrainedConfig) -> dict[str, int | None]:
    """The kinds of attention layers and how many tokens each sees (`None`: all).

    Raises:
        CannotPack: for layers that are no attention, or one with another pattern.
    """
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    # Where no types are given, a window is every layer's.
    default = ["full_attention" if window is None else "sliding_attention"]
    kinds = set(getattr(config, "layer_types", None) or default)
    others = sorted(kinds - {"full_attention", "sliding_attention"})
    if others:
        raise CannotPack(f"{config.model_type} has layers of {' and '.join(others)}")
    return {kind: window if kind == "sliding_attention" else None for kind in kinds}
