"""What is counted of rows that were left out: reasons in one line, few enough for a card, whatever the source."""

import pytest

from datasets_scripts.corpus.shards import MAX_REASONS, OTHER_REASONS, ShardCount
from datasets_scripts.schema import Skipped


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("missing image", "missing image"),
        (f"unknown age {'3-9,Male,White ' * 50!r}", "unknown age '3-9,Male,White 3-9,Male,White 3-9,Mal...'"),
        ("annotator: not\nvalid", "annotator: not valid"),
        ("the face's pose is not what the annotator's table of poses has", None),
        ("no " * 100, f"{'no ' * 52}n..."),
    ],
)
def test_a_reason_is_one_line_with_the_beginning_of_what_it_quotes(reason, told):
    assert Skipped("x/1", reason).reason == (reason if told is None else told)


def counted(numbers):
    count = ShardCount()
    for number in numbers:
        count.add_skipped(f"undefined label {number}")
    return count


def test_a_shard_tells_a_bounded_number_of_reasons_apart():
    skipped = counted([*range(1000), 5]).skipped
    assert len(skipped) == MAX_REASONS + 1 and skipped.total() == 1001
    assert skipped["undefined label 5"] == 2 and skipped[OTHER_REASONS] == 800


def test_shards_together_keep_the_most_frequent_reasons():
    total = sum((counted([7777, *range(100 * shard, 100 * shard + 300)]) for shard in range(5)), ShardCount())
    assert len(total.skipped) == MAX_REASONS + 1 and total.skipped.total() == 5 * 301
    assert total.skipped["undefined label 7777"] == 5
