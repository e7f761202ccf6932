"""What is read of a corpus is what its files hold now."""

import os

import pyarrow.parquet as parquet
import pytest

from datasets_scripts.corpus.loading import load_rows
from tests.recipes.tiny import picture_record, write_corpus


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return write_corpus([picture_record(number) for number in range(3)], tmp_path / "corpus")


@pytest.mark.parametrize("keep_time", [False, True], ids=["edited", "with its old time"])
def test_a_shard_that_was_edited_in_place_is_read_again(keep_time, corpus):
    (shard,) = (os.path.join(corpus, name) for name in os.listdir(corpus))
    assert load_rows(corpus, None, "train")["source"][:] == ["test"] * 3
    table, before = parquet.read_table(shard), os.stat(shard)
    rows = [{**row, "source": "mine"} for row in table.to_pylist()]
    parquet.write_table(table.from_pylist(rows, schema=table.schema), shard)
    if keep_time:
        os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load_rows(corpus, None, "train")["source"][:] == ["mine"] * 3


def test_a_shard_that_was_cut_off_is_no_success_of_the_cache(corpus):
    (shard,) = (os.path.join(corpus, name) for name in os.listdir(corpus))
    load_rows(corpus, None, "train")
    os.truncate(shard, 200)
    with pytest.raises(ValueError):
        load_rows(corpus, None, "train")


def test_a_corpus_that_stayed_is_not_read_twice(corpus):
    first, second = (load_rows(corpus, None, "train") for _ in range(2))
    assert first.cache_files == second.cache_files
