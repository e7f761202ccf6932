"""The tokenizer of the text tower: a byte-level BPE learned from the project's own sentences, with ChatML's marks."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from datasets_scripts.questions.conversations import TASKS
from datasets_scripts.schema import AGE_GROUPS

PAD, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant")  # they begin every turn: in letters they would be a quarter of all tokens

PHOTOGRAPHED = ("gender", "age", "race")
"""The tasks whose words the packaged tokenizer has learned: more of them would be another tokenizer, and towers."""


def photograph_sentences() -> list[str]:
    """What is said about photographs (FairFace and the like), so that those corpora are spelled in whole words too."""
    sentences = [
        f"A photo of {who}, aged {age}." for who in ("a man", "a woman", "a boy", "a girl") for age in AGE_GROUPS
    ]
    for task in (TASKS[name] for name in PHOTOGRAPHED):
        sentences += [*task.questions, task.statement, *task.checks, *task.answers.values()]
        sentences += [wording for wordings in task.claims.values() for wording in wordings]
        sentences += [claim.text for claim in task.ranges]
    return sentences


def train_tokenizer(sentences: Iterable[str], vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Learn the tokenizer; any text can be encoded, since every byte is a token.

    Args:
        sentences: text of the corpus; `photograph_sentences` are added.
        vocab_size: upper bound of the number of tokens, the three marks included.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, TURN_START, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*sentences, *photograph_sentences() * 20, *ROLES * 100], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=TURN_END, pad_token=PAD)
