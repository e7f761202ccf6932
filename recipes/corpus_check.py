"""What training would stop at in a recipe's corpora, from their cards, schemas and first rows: in seconds."""

import os
import re
from pathlib import Path
from typing import Any

from .recipe import CorpusRecipe, Recipe
from .strict import RecipeError

# Files that can hold conversations; a folder with none of them is pictures and label files.
_DATA_FILES = (".parquet", ".arrow", ".json", ".jsonl", ".tar", ".zip", ".gz", ".zst", ".lance")
_FIRST_ROWS = 64


def check_corpora(recipe: Recipe) -> list[str]:
    """Check the corpora that are folders here as training would, and return what was left unchecked, one line each.

    Raises:
        RecipeError: for a config or split that is not there, a folder without conversations, and conversations about
            pictures whose first rows carry none.
    """
    unchecked = []
    for name, corpora in (("data", recipe.data), ("eval_data", recipe.eval_data)):
        for position, corpus in enumerate(corpora):
            where = f"{name}.{position}"
            if not Path(corpus.path).is_dir():
                unchecked.append(f"{where}: {corpus.path!r} is no folder here, and the Hub was not asked: not checked")
                continue
            check_folder(corpus, where)
            files = _files_of_split(corpus, where)
            if files is None or not files[0].endswith(".parquet"):
                unchecked.append(f"{where}: {corpus.path!r}: split {corpus.split!r} was not looked into")
            else:
                _check_rows(files[0], corpus, where)
    return unchecked


def check_folder(corpus: CorpusRecipe, where: str) -> None:
    """Refuse a folder of pictures: `load_dataset` would take it, and minutes later miss the conversations."""
    for _, _, names in os.walk(corpus.path, followlinks=True):
        if any(name.endswith(_DATA_FILES) for name in names):
            return
    raise RecipeError(
        f"{where}: {corpus.path!r} is no corpus: it holds no Parquet or JSON files with conversations; build one, as "
        "facemllm data does from a dataset's folder"
    )


def described(corpus: CorpusRecipe) -> str:
    """The corpus and its config, as errors name them."""
    return f"{corpus.path!r}" + (f", config {corpus.config!r}" if corpus.config else "")


def no_conversations(corpus: CorpusRecipe, where: str, columns: list[str]) -> RecipeError:
    """The error for rows without the column `messages`."""
    return RecipeError(
        f"{where}: {described(corpus)} has the columns {', '.join(columns)} and no conversations; "
        "a column messages with chat turns is needed"
    )


def cannot_load(corpus: CorpusRecipe, where: str, error: BaseException | str) -> RecipeError:
    """The error for a corpus, config or split that is not there."""
    reason = " ".join(str(error).split())
    return RecipeError(f"{where}: cannot load {described(corpus)}, split {corpus.split!r}: {reason[:300]}")


def _files_of_split(corpus: CorpusRecipe, where: str) -> list[str] | None:
    """The split's files here; None where the layout does not name them."""
    from datasets import load_dataset_builder

    try:
        builder = load_dataset_builder(corpus.path, corpus.config)
    except (OSError, ValueError, ConnectionError) as error:
        raise cannot_load(corpus, where, error) from error
    by_split = {str(split): list(files) for split, files in (builder.config.data_files or {}).items()}
    # A split may also be a sum of parts, such as train[:10%]+validation.
    names = [re.sub(r"\[.*\]", "", part).strip() for part in corpus.split.split("+")]
    if not by_split or "all" in names:
        return None
    for name in names:
        if name not in by_split:
            raise cannot_load(corpus, where, f'Unknown split "{name}". Should be one of {list(by_split)}.')
    return by_split[names[0]]


def _check_rows(file: str, corpus: CorpusRecipe, where: str) -> None:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as parquet:
        columns = parquet.schema_arrow.names
        if "messages" not in columns:
            raise no_conversations(corpus, where, columns)
        wanted = [name for name in ("messages", "image") if name in columns]
        rows = next(parquet.iter_batches(min(_FIRST_ROWS, corpus.max_rows or _FIRST_ROWS), columns=wanted), None)
    if rows is None or not rows.num_rows:
        raise RecipeError(f"{where}: {described(corpus)}, split {corpus.split!r} has no rows")
    speak = [_speaks_of_picture(messages) for messages in rows["messages"].to_pylist()]
    hold = rows["image"].is_valid().to_pylist() if "image" in columns else [False] * len(speak)
    if all(speak) and not any(hold):
        raise RecipeError(
            f"{where}: {described(corpus)}: the turns of its first {len(speak)} rows speak of pictures, and the rows "
            "carry none; build the corpus with them: facemllm data without --no-images, facemllm annotate with "
            "--include-images"
        )


def _speaks_of_picture(messages: list[dict[str, Any]] | None) -> bool:
    return any(
        isinstance(part, dict) and part.get("type") == "image"
        for message in messages or ()
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )
