"""Corpora → one tokenised training set: loading, the mixture, and a fingerprint of what is in it."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Image, concatenate_datasets
from datasets.fingerprint import Hasher
from transformers.utils import logging

from datasets_scripts.corpus.loading import load_rows
from datasets_scripts.worker_processes import interrupting_this_process_alone

from .conversations import TOKEN_FEATURES, ConversationTokenizer
from .corpus_check import cannot_load, check_folder, no_conversations
from .recipe import CorpusRecipe
from .strict import NothingLearned

logger = logging.get_logger(__name__)

# Part of the cache key of tokenised corpora: raise it when ConversationTokenizer writes something else.
TOKENIZER_VERSION = 2


def load_corpus(corpus: CorpusRecipe, where: str) -> Dataset:
    """The rows of one corpus with the columns `id`, `image` (still encoded, may be null) and `messages`.

    `where` is the corpus's key in the recipe, for errors. Raises `RecipeError` for a corpus, config or split that
    cannot be had, and for one without conversations.
    """
    if Path(corpus.path).is_dir():
        check_folder(corpus, where)
    try:
        rows = load_rows(corpus.path, corpus.config, corpus.split)
    except (OSError, ValueError, ConnectionError) as error:
        raise cannot_load(corpus, where, error) from error
    if "messages" not in rows.column_names:
        raise no_conversations(corpus, where, rows.column_names)
    if corpus.max_rows is not None:
        rows = rows.select(range(min(corpus.max_rows, len(rows))))
    if "image" not in rows.column_names:
        rows = rows.add_column("image", [None] * len(rows))
    if "id" not in rows.column_names:
        rows = rows.add_column("id", [f"row-{number}" for number in range(len(rows))])
    return rows.select_columns(["id", "image", "messages"]).cast_column("image", Image(decode=False))


def folders_of(path: str) -> list[str]:
    """Where the pictures may lie that rows of a corpus name: in its folder, or for one of the Hub in its caches."""
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    return [path] if Path(path).is_dir() else [HF_HUB_CACHE, str(HF_DATASETS_CACHE)]


def tokenize_corpus(
    rows: Dataset, tokenizer: ConversationTokenizer, where: str, num_proc: int | None, number: int = 0
) -> Dataset:
    """`rows` with the columns of `TOKEN_FEATURES` in place of `messages`, without those that cannot be used.

    The column `corpus` is `number` in each: where its picture may lie depends on it.

    The tokens are cached on disk beside the corpus and memory-mapped, the pictures are referred to and never copied:
    ten million rows need no more memory than ten.
    """
    fingerprint = Hasher.hash(
        (
            TOKENIZER_VERSION,
            rows._fingerprint,
            tokenizer.processor.tokenizer.backend_tokenizer.to_str(),
            tokenizer.template,
            tokenizer.expansion,
            tokenizer.max_length,
        )
    )
    has_image = has_image_in(rows)

    def tokenize(batch: dict[str, list], positions: list[int]) -> dict[str, list]:
        return tokenizer({"messages": batch["messages"], "has_image": has_image[positions].tolist()})

    with interrupting_this_process_alone():
        tokens = rows.select_columns(["messages"]).map(
            tokenize,
            batched=True,
            with_indices=True,
            remove_columns=["messages"],
            features=TOKEN_FEATURES,
            num_proc=num_proc if num_proc and len(rows) > 10_000 else None,
            new_fingerprint=fingerprint,
            desc=f"tokenising {where}",
        )
    found = tokens["problem"][:]
    problems = Counter(problem for problem in found if problem)
    for problem, count in problems.items():
        logger.warning(f"{where}: {count} of {len(rows)} conversations are left out: {problem}")
    numbers = Dataset.from_dict({"corpus": np.full(len(rows), number, np.int16)})
    usable = concatenate_datasets([rows.remove_columns("messages"), tokens, numbers], axis=1)
    if problems:
        usable = usable.select(np.flatnonzero([problem is None for problem in found]))
    if not len(usable):
        reason = problems.most_common(1)[0][0] if problems else "it has no rows"
        raise NothingLearned(f"{where}: no conversation is left to train on; {reason}")
    return usable.remove_columns("problem")


def has_image_in(rows: Dataset) -> np.ndarray:
    """Which rows hold a picture, bool of shape `(rows,)`, from the columns' null bits: no picture is read."""
    batches = rows.select_columns(["image"]).with_format("arrow").iter(batch_size=1000)
    found = [batch["image"].is_valid().to_numpy(zero_copy_only=False) for batch in batches]
    return np.concatenate(found) if found else np.zeros(0, dtype=bool)


def mix(corpora: list[Dataset], weights: list[float | None], seed: int) -> Dataset:
    """One training set; its order does not matter, the trainer shuffles it.

    Without weights, every corpus is gone through once per epoch. With weights, an epoch goes through the first corpus
    once and takes the others in proportion: a random part of one that is larger, rows again of one that is smaller.
    Deterministic per `seed`.
    """
    together = concatenate_datasets(corpora)
    if weights[0] is None or len(corpora) == 1:
        return together
    chosen, offset = [], 0
    for position, (rows, weight) in enumerate(zip(corpora, weights, strict=True)):
        wanted = round(len(corpora[0]) * weight / weights[0])
        random = np.random.default_rng((seed, position))
        passes = [random.permutation(len(rows)) for _ in range(-(-wanted // len(rows)))]
        chosen.append(np.sort(np.concatenate(passes)[:wanted]) + offset if passes else np.zeros(0, dtype=np.int64))
        offset += len(rows)
    return together.select(np.concatenate(chosen))


def fingerprint(rows: Dataset) -> str:
    """A hash of the ids and tokens of `rows` in order; the same on another machine. Pixels are not read."""
    digest = hashlib.blake2b(digest_size=16)
    for batch in rows.select_columns(["id", "input_ids", "scored"]).with_format("arrow").iter(batch_size=10_000):
        digest.update("\0".join(map(str, batch["id"].to_pylist())).encode())
        for name in ("input_ids", "scored"):
            values = batch[name].combine_chunks().flatten()
            digest.update(values.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()


def load_mixture(
    corpora: list[CorpusRecipe],
    tokenizer: ConversationTokenizer,
    *,
    name: str,
    seed: int,
    num_proc: int | None,
    first_number: int = 0,
) -> tuple[Dataset, list[dict[str, Any]]]:
    """The mixture of `corpora` and, for `run.json`, what went into it.

    `name` is the recipe's key (`data` or `eval_data`), used in messages; the corpora are numbered from `first_number`.
    """
    loaded, facts = [], []
    for position, corpus in enumerate(corpora):
        where = f"{name}.{position}"
        rows = load_corpus(corpus, where)
        usable = tokenize_corpus(rows, tokenizer, where, num_proc, first_number + position)
        loaded.append(usable)
        with_image = int(np.count_nonzero(usable.with_format("numpy")["num_images"][:]))
        fact = {"path": corpus.path, "config": corpus.config, "split": corpus.split, "rows": len(rows)}
        fact |= {"usable": len(usable), "with_image": with_image, "fingerprint": fingerprint(usable)}
        facts.append(fact)
    return mix(loaded, [corpus.weight for corpus in corpora], seed), facts
