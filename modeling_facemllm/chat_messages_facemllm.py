"""Chat messages with images, as people write them → one form; and which images belong to which image parts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

IMAGE_SOURCES = ("image", "url", "path", "base64")


def plain_conversations(conversation: Sequence) -> tuple[list[list[dict]], bool]:
    """A conversation or a batch of them → a list of conversations of plain messages, and whether it was a batch.

    Raises:
        ValueError: when there is no message, or a text in the place of messages.
    """
    if not conversation:
        raise ValueError("the conversation is empty: pass at least one message")
    if isinstance(conversation, str) or isinstance(conversation[0], str):
        raise ValueError('the conversation is a text: pass messages, as [{"role": "user", "content": "…"}]')
    batched = not isinstance(conversation[0], dict) and not hasattr(conversation[0], "content")
    conversations = conversation if batched else [conversation]
    return [[_plain_message(message) for message in messages] for messages in conversations], batched


def _plain_message(message: Any) -> dict:
    """Content as a list of parts without empty keys, every image under `image`."""
    message = dict(message) if isinstance(message, dict) else {"role": message.role, "content": message.content}
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    message["content"] = [_plain_part(part) for part in content or []]
    return {key: value for key, value in message.items() if value is not None}


def _plain_part(part: Any) -> dict:
    fields = part if isinstance(part, Mapping) else vars(part)  # clients of chat servers give objects
    part = {key: value for key, value in fields.items() if value is not None}
    if part.get("type") == "image_url":  # OpenAI's form
        url = part.pop("image_url", None)
        part = {"type": "image", "url": url.get("url") if isinstance(url, dict) else url}
    if part.get("type") == "image":
        sources = [part.pop(key) for key in IMAGE_SOURCES if key in part]
        if sources:
            part["image"] = sources[0]
    return part


def image_parts(messages: Sequence[dict]) -> Iterator[dict]:
    """The image parts of plain messages, in order."""
    return (part for message in messages for part in message["content"] if part.get("type") == "image")


def fill_images(conversations: list[list[dict]], images: Any) -> None:
    """Give each image part without an image the next one; per conversation where `images` is nested.

    Raises:
        ValueError: when images and parts differ in number.
    """
    if not isinstance(images, (list, tuple)):
        images = [images]
    nested = bool(images) and all(isinstance(group, (list, tuple)) or group is None for group in images)
    if nested and len(images) != len(conversations):
        raise ValueError(
            f"images holds {len(images)} lists for {len(conversations)} conversations: pass one list for each"
        )
    groups = zip([[one] for one in conversations], images, strict=True) if nested else [(conversations, images)]
    for index, (those, theirs) in enumerate(groups):
        empty = [part for messages in those for part in image_parts(messages) if "image" not in part]
        theirs = theirs or []
        if len(empty) != len(theirs):
            where = f" in conversation {index}" if nested else ""
            raise ValueError(
                f"Image features and image tokens do not match{where}: {len(empty)} image parts without an image, but "
                f"{len(theirs)} images in images="
            )
        for part, image in zip(empty, theirs, strict=True):
            part["image"] = image


def check_images_per_prompt(images: Any, prompts: Any, image_token: str) -> None:
    """Where `images` holds a list for each prompt, each has to fit its own. Raises ValueError."""
    if isinstance(prompts, str) or not isinstance(images, (list, tuple)):
        return
    if not any(isinstance(group, (list, tuple)) for group in images) or len(images) != len(prompts):
        return
    for index, (group, prompt) in enumerate(zip(images, prompts, strict=True)):
        tokens, given = prompt.count(image_token), len(group) if isinstance(group, (list, tuple)) else 1
        if tokens != given:
            raise ValueError(image_mismatch(image_token, tokens, given, f" (prompt {index} of the batch)"))


def image_mismatch(image_token: str, tokens: int, images: int, where: str = "") -> str:
    """The error text where images and their tokens differ in number.

    The first words are those of transformers' models, the others those of its processors: tools look for both.
    """
    return (
        f"Image features and image tokens do not match: the total number of {image_token} tokens in the prompts "
        f"should be the same as the number of images passed. Found {tokens} tokens and {images} images{where}."
    )
