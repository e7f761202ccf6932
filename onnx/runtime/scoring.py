"""Closed questions about faces on ONNX Runtime: the scoring graph's inputs laid out, its log-likelihoods read back.

Needs neither torch nor transformers. The answers are those of `modeling_facemllm.scoring_facemllm`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from modeling_facemllm.closed_questions_facemllm import QuestionTokenizer, TokenizedQuestion, ask_with_images
from modeling_facemllm.option_scores_facemllm import (
    Questions,
    Scores,
    batches,
    by_question,
    faces_and_questions,
)
from modeling_facemllm.token_tree_facemllm import CannotPack, TokenTree, pack_prompts

from .decoding import STORAGE, on_host, to_storage

HEAD_NUMBERS = 2**25
"""Logits of a run, in numbers: 128 MiB, and as much for their log-probabilities. One face may need more."""


@dataclass(frozen=True)
class OptionScorer:
    """Scores the options of closed questions with the graph `scoring`.

    Args:
        session: of the graph.
        processor: its `image_processor` gives `pixel_values` as NumPy arrays; its tokenizer and chat template are
            the model's.
        image_token_id, num_image_tokens, vocab_size: of the model.
        position_limit: tokens that it reads; any number where absent.
        end_token_ids: what ends a turn, besides the tokenizer's own.
    """

    session: onnxruntime.InferenceSession
    processor: Any
    image_token_id: int
    num_image_tokens: int
    vocab_size: int
    position_limit: int | None = None
    end_token_ids: Sequence[int] = ()

    def option_log_likelihoods(
        self, images: Sequence[Any], questions: Questions, *, batch_size: int = 8, pack_tokens: int = 2048
    ) -> Scores:
        """What `modeling_facemllm.scoring_facemllm.option_log_likelihoods` returns of these arguments.

        Questions that need more than `pack_tokens` tokens take several runs, and each of them reads the images and the
        prefix anew.

        Raises:
            ValueError: when the arguments do not fit together, or the chat template lets the prompts share no row.
            PromptTooLongError: a ValueError, when a question with one of its options is longer than the model reads.
        """
        faces, asked = faces_and_questions(images, questions, batch_size, pack_tokens)
        tokens = QuestionTokenizer(self.processor, self.end_token_ids)
        results: Scores = [[] for _ in faces]
        for batch in batches(faces, asked, batch_size):
            pictures = [faces[face] for face in batch]
            prompts = [
                ask_with_images(
                    tokens,
                    asked[face],
                    len(faces[face]),
                    self.image_token_id,
                    self.num_image_tokens,
                    self.position_limit,
                )
                for face in batch
            ]
            for face, of_face in zip(batch, self._score_batch(pictures, prompts, pack_tokens), strict=True):
                results[face] = of_face
        return results

    def _score_batch(
        self, faces: Sequence[tuple], prompts: Sequence[list[TokenizedQuestion]], pack_tokens: int
    ) -> Scores:
        """The log-likelihoods of each face's answers, `faces` being their images."""
        kinds = [theirs for number, theirs in enumerate(prompts) if theirs not in prompts[:number]]
        try:
            prefix, trees = pack_prompts(kinds, self.image_token_id, pack_tokens)
        except CannotPack as reason:
            raise ValueError(f"these questions share no row: {reason}; let the model write its answers") from reason
        rows_of = [[lay_out(prefix, tree) for tree in of_kind] for of_kind in trees]
        kind_of = [kinds.index(theirs) for theirs in prompts]
        sums = [np.zeros(sum(len(one.answers) for one in theirs)) for theirs in prompts]
        for number in range(max(map(len, rows_of))):
            asked = [face for face, kind in enumerate(kind_of) if number < len(rows_of[kind])]
            most = max(len(rows_of[kind_of[face]][number].predicting) for face in asked)
            step = max(1, HEAD_NUMBERS // (most * self.vocab_size))
            for start in range(0, len(asked), step):
                part = asked[start : start + step]
                rows = [rows_of[kind_of[face]][number] for face in part]
                values = self._run([image for face in part for image in faces[face]], rows)
                for face, row, of_face in zip(part, rows, values, strict=True):
                    sums[face][row.answers] = of_face
        return [by_question(values.tolist(), theirs) for values, theirs in zip(sums, prompts, strict=True)]

    def _run(self, images: list, rows: Sequence["Row"]) -> list[np.ndarray]:
        """The log-likelihoods of each row's answers, `images` being those of all rows."""
        pixel_values = next(one for one in self.session.get_inputs() if one.name == "pixel_values")
        if images:
            pixels = self.processor.image_processor(images, return_tensors="np")["pixel_values"]
        else:
            # No token shows it: a reshape in ONNX Runtime takes no empty batch.
            pixels = np.zeros((1, *pixel_values.shape[1:]))
        inputs = {"pixel_values": to_storage(pixels, STORAGE[pixel_values.type]), **stack(rows)}
        tensors = {name: on_host(array) for name, array in inputs.items()}
        (values,) = self.session.run_with_ort_values(["log_likelihoods"], tensors)
        return np.split(values.numpy(), np.cumsum([len(row.answers) for row in rows[:-1]]))


@dataclass(frozen=True)
class Row:
    """One row of tokens: what a face is asked, and where its answers are predicted.

    `answers` are the numbers of the answers in it; of each, `answer_rows` says which of the places in `predicting`
    predict its tokens, and `answer_ids` which tokens these are.
    """

    input_ids: np.ndarray
    position_ids: np.ndarray
    visible: np.ndarray
    predicting: np.ndarray
    answers: list[int]
    answer_rows: list[list[int]]
    answer_ids: list[list[int]]


def lay_out(prefix: Sequence[int], tree: TokenTree) -> Row:
    """The row of `prefix` and the nodes of `tree` behind it."""
    length, size = len(prefix), len(tree)
    visible = np.zeros((length + size, length + size), dtype=bool)
    visible[:length, :length] = np.tri(length, dtype=bool)
    visible[length:] = tree.visible(size, length, None)
    predicting = sorted({node for node, _, _ in tree.predicted})
    row_of = {node: row for row, node in enumerate(predicting)}
    rows: dict[int, list[int]] = {}
    ids: dict[int, list[int]] = {}
    for node, token, answer in tree.predicted:
        rows.setdefault(answer, []).append(row_of[node])
        ids.setdefault(answer, []).append(token)
    return Row(
        input_ids=np.array([*prefix, *tree.tokens], dtype=np.int64),
        position_ids=np.array([*range(length), *(length + depth for depth in tree.depths)], dtype=np.int64),
        visible=visible,
        predicting=length + np.array(predicting, dtype=np.int64),  # -1 is the prefix's last token
        answers=list(rows),
        answer_rows=list(rows.values()),
        answer_ids=list(ids.values()),
    )


def stack(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """The scoring graph's inputs, but for the pictures, for one row or several."""
    length = max(len(row.input_ids) for row in rows)
    longest = max(len(ids) for row in rows for ids in row.answer_ids)
    answers = sum(len(row.answers) for row in rows)
    ids = np.zeros((len(rows), length), dtype=np.int64)
    positions = np.zeros_like(ids)
    # A token that only fills up sees itself: attention to nothing is no number in some kernels.
    visible = np.broadcast_to(np.eye(length, dtype=bool), (len(rows), length, length)).copy()
    answer_rows = np.zeros((answers, longest), dtype=np.int64)
    answer_ids = np.full_like(answer_rows, -1)
    places, answer = [], 0
    for number, row in enumerate(rows):
        size = len(row.input_ids)
        ids[number, :size], positions[number, :size] = row.input_ids, row.position_ids
        visible[number, :size, :size] = row.visible
        before = sum(map(len, places))
        for of_row, of_ids in zip(row.answer_rows, row.answer_ids, strict=True):
            answer_rows[answer, : len(of_row)] = before + np.array(of_row)
            answer_ids[answer, : len(of_ids)] = of_ids
            answer += 1
        places.append(number * length + row.predicting)
    return {
        "input_ids": ids,
        "position_ids": positions,
        "visible": visible,
        "predicting": np.concatenate(places),
        "answer_rows": answer_rows,
        "answer_ids": answer_ids,
    }
