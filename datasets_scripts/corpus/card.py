"""The dataset card of a corpus: YAML that the Hub and `load_dataset` read, and plain sections for people.

The Hub makes a dataset's Croissant file itself, from what is here: `configs` over Parquet files, `dataset_info`
with the features, `license`, and the description, which is the card's first paragraph.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from datasets import DatasetInfo, Features
from datasets.info import DatasetInfosDict

from datasets_scripts.shown_text import in_code, in_code_block, in_markdown

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
TASK_CATEGORIES = {  # what each config is for, in the Hub's names
    "captions": "image-to-text",
    "vqa": "visual-question-answering",
    "face_tasks": "image-classification",
    "zero_shot": "zero-shot-image-classification",
    "text": "question-answering",
}
REPEATING = "pairs"  # FairFaceGPT's config of several rows for one picture
REASONS_SHOWN = 20
IN_LINKS = ":/?#@!$&'*+,;=%~"  # what an address keeps in Markdown
REPOSITORY = "path/or/name"  # stands in the card for the name that the corpus is loaded by
WEB_SOURCES = ("laion", "maad")  # their licences are of lists and labels; MAAD-Face's pictures are VGGFace2's
LABELS_SEEN = {"age", "age_group", "gender"}
EMOTION_LABELS = {"expression", "valence", "arousal", "action_units"}

PEOPLE = """\
The pictures show real people. A face is biometric data: whoever holds this corpus answers for having a right to hold
it, for who may see it, and for deleting a picture when the person asks. Do not use it to identify anyone."""

SEEN = """\
Labels such as age and gender are what annotators saw in a picture, not what the people say of themselves."""

DRAWN = "The faces are drawn by a program. They show nobody, and the corpus holds no personal data."

RACE = """\
Race labels are in this corpus because whoever built it asked for them. They are for auditing and balancing data and
models: how accurate is a model, and for whom. Categorising people by race is a prohibited use in the European Union
(AI Act, Article 5), and one word of a list says little about anybody."""

EMOTION = """\
Labels of expression say how a face looks, not what a person feels. Inferring the emotions of people at work or in
schools is a prohibited use in the European Union (AI Act, Article 5)."""

WEB_PICTURES = """\
> [!WARNING]
> **This corpus carries the pixels of {pictures:,} pictures from the web, of people whom nobody asked.** Whoever
> collected them licenses a list or labels, not the pictures: each one belongs to whoever took it, and the person in it
> has rights of their own. Do not pass this corpus on; one that was built without the pictures can be. When a person or
> a photographer asks for a picture to be removed, remove its rows: `url` finds them."""

ANNOTATED = """\
A model wrote captions and attributes of this corpus, and nobody has checked each of them: they can be wrong, and wrong
about some groups of people more often than about others. What they say of age and gender is how a face looks to that
model. The column `annotation` names the model row by row, and `flags` the contradictions found in what it said. The
model's own licence may have terms for what it wrote."""

RECORD = """\
One row is one picture with a conversation about it: `image`, `messages` (chat turns; the picture stands first in the
first user turn), `task`, `labels` (what the turns were made from; null is unknown), `annotation` (which model wrote
the words; null where none did), `split`, `source`, `license`, and `url`, `box` and `landmarks`, which say where a
picture is to be found that is not carried."""

GATE = {
    "extra_gated_heading": "Ask for access to a corpus about people's faces",
    "extra_gated_prompt": (
        "This corpus is about the faces of real people. A face is biometric data, and whoever gets a copy answers for "
        "it. Tell its keepers who you are and what you will do with it, and promise the following."
    ),
    "extra_gated_fields": {  # of the types that the Hub knows: text, country, select, checkbox
        "Name": "text",
        "Affiliation": "text",
        "Country": "country",
        "Purpose": {
            "type": "select",
            "options": [
                "Research",
                "Teaching",
                "Auditing a model or a data set",
                {"label": "Other", "value": "other"},
            ],
        },
        "What I will do with it": "text",
        "I will not use it to identify people, to recognise faces, or to sort people by race": "checkbox",
        "I have a lawful ground for processing biometric data where I am, and keep the terms of "
        "every source": "checkbox",
        "I will keep it to myself, and delete what its keepers ask me to delete": "checkbox",
    },
    "extra_gated_button_content": "Ask for access",
}


def card_text(manifest: Mapping[str, Any], features: Features, *, command: str) -> str:
    """The whole README.md of the corpus whose counts and settings `writing.write_corpus` put into `manifest`."""
    from huggingface_hub import DatasetCardData

    configs, people = manifest["configs"], manifest["people"]
    data = DatasetCardData(
        pretty_name=manifest["name"],
        language=["en"],
        **_license_data(manifest),
        annotations_creators=["machine-generated"] if manifest["annotations"] else None,
        size_categories=[_size(sum(split["rows"] for splits in configs.values() for split in splits.values()))],
        task_categories=[
            "image-text-to-text",
            *(TASK_CATEGORIES[name] for name in configs if name in TASK_CATEGORIES),
        ],
        tags=["face", "face-analysis", "facemllm", "biometrics" if people else "synthetic"],
        configs=[
            {
                "config_name": config,
                "data_files": [{"split": split, "path": f"{config}/{split}-*.parquet"} for split in splits],
            }
            for config, splits in configs.items()
        ],
        **(GATE if manifest["gated"] else {}),
    )
    infos = {config: _info(config, splits, features) for config, splits in configs.items()}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    return f"---\n{data.to_yaml()}\n---\n\n{_sections(manifest, command)}"


def shows_web_pictures(manifest: Mapping[str, Any]) -> bool:
    """Whether the corpus carries pixels that somebody collected on the web: pictures of people whom nobody asked."""
    return bool(manifest["pictures"]) and any(source.lower().startswith(WEB_SOURCES) for source in manifest["sources"])


def pictures_carried(manifest: Mapping[str, Any]) -> int:
    """How many pictures the corpus carries: every config has the same ones, so as many as the largest has rows."""
    rows = {name: sum(split["rows"] for split in splits.values()) for name, splits in manifest["configs"].items()}
    single = [count for name, count in rows.items() if name != REPEATING] or rows.values()
    return min(manifest["pictures"], max(single))


def _license_data(manifest: Mapping[str, Any]) -> dict[str, str]:
    data = {"license": manifest["license"]}
    if data["license"] == "other":
        slug = re.sub(r"[^a-z0-9]+", "-", manifest["name"].lower()).strip("-")
        data["license_name"] = manifest["settings"]["license_name"] or f"{slug}-terms"
        link = manifest["settings"]["license_link"]
        data |= {"license_link": link} if link else {}
    return data


def _info(config: str, splits: Mapping[str, Mapping[str, Any]], features: Features) -> DatasetInfo:
    sizes = {
        name: {"name": name, "num_bytes": split["bytes"], "num_examples": split["rows"]}
        for name, split in splits.items()
    }
    return DatasetInfo(
        features=features,
        splits=sizes,
        config_name=config,
        download_size=sum(split["file_bytes"] for split in splits.values()),
        dataset_size=sum(split["bytes"] for split in splits.values()),
    )


def _sections(manifest: Mapping[str, Any], command: str) -> str:
    settings, labels = manifest["settings"], set(manifest["labels"])
    sections = [f"# {in_markdown(manifest['name'])}", settings["description"].strip()]
    if shows_web_pictures(manifest):
        sections += ["## Warning: other people's pictures", WEB_PICTURES.format(pictures=pictures_carried(manifest))]
    people = (f"{PEOPLE} {SEEN}" if labels & LABELS_SEEN else PEOPLE) if manifest["people"] else DRAWN
    sections += ["## The rows", RECORD, "## The people in the pictures", people]
    if "race" in labels:
        sections += ["### Race", RACE]
    if labels & EMOTION_LABELS:
        sections += ["### Expression and emotion", EMOTION]
    if manifest["annotations"]:
        sections += ["## Words written by a model", ANNOTATED, _annotations(manifest["annotations"])]
    sections += ["## Licence", _licence(manifest)]
    if settings["notices"]:
        sections += ["## Terms", *(notice.strip() for notice in settings["notices"])]
    sections += ["## How it was built", in_code_block(command), _counts(manifest["configs"])]
    sections += ["## Rows left out, and why", _skipped(manifest["configs"])]
    sections += ["## Use", _use(manifest["configs"])]
    return "\n\n".join(sections) + "\n"


def _annotations(annotations: Sequence[Mapping[str, Any]]) -> str:
    """One line of a table for each annotator and prompt version, with the first and the last date."""
    lines = ["| annotator | prompt | dates | rows |", "|---|---|---|---|"]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in annotations:
        groups.setdefault((entry["annotator"], entry["prompt_version"]), []).append(entry)
    for (annotator, prompt_version), entries in groups.items():
        first, last = min(entry["date"] for entry in entries), max(entry["date"] for entry in entries)
        dates = first if first == last else f"{first} to {last}"
        names = " | ".join(map(in_markdown, (annotator, prompt_version, dates)))
        lines.append(f"| {names} | {sum(entry['rows'] for entry in entries):,} |")
    return "\n".join(lines)


def _licence(manifest: Mapping[str, Any]) -> str:
    data = _license_data(manifest)
    name = in_code(data["license"])
    if data["license"] == "other":
        named = in_markdown(data["license_name"])
        named = f"[{named}]({quote(data['license_link'], safe=IN_LINKS)})" if "license_link" in data else named
        name = f"`other`: {named}, a licence of its own kind"
    text = f"{name}; the column `license` says it row by row, and `source` says whose work it is."
    return text if manifest["images"] else f"{text} The pictures are not carried here and keep the rights they have."


def _counts(configs: Mapping[str, Any]) -> str:
    lines = ["| config | split | rows | shards |", "|---|---|---|---|"]
    for config, splits in configs.items():
        lines += [f"| {config} | {name} | {split['rows']:,} | {split['shards']:,} |" for name, split in splits.items()]
    remarks = [
        f"- {config}, {name}: {in_markdown(remark)}: {rows:,}"
        for config, splits in configs.items()
        for name, split in splits.items()
        for remark, rows in split.get("remarks", {}).items()
    ]
    return "\n".join([*lines, *(["", "Of these rows:", "", *remarks] if remarks else [])])


def _skipped(configs: Mapping[str, Any]) -> str:
    lines = []
    for config, splits in configs.items():
        for name, split in splits.items():
            reasons = sorted(split["skipped"].items(), key=lambda entry: (-entry[1], entry[0]))
            lines += [
                f"- {config}, {name}: {in_markdown(reason)}: {rows:,}" for reason, rows in reasons[:REASONS_SHOWN]
            ]
            rest = sum(rows for _, rows in reasons[REASONS_SHOWN:])
            lines += [f"- {config}, {name}: other reasons: {rest:,}"] if rest else []
    return "\n".join(lines) or "None: every row of the source is here."


def _use(configs: Mapping[str, Any]) -> str:
    config = list(configs)[-1]
    split = next(iter(configs[config]))
    call = f'load_dataset("{REPOSITORY}", "{config}", split="{split}")  # streaming=True works too'
    return f"```python\nfrom datasets import load_dataset\n\nrows = {call}\n```"


def _size(rows: int) -> str:
    return next((name for limit, name in SIZES.items() if rows < limit), "n>10M" if rows > 10**8 else "10M<n<100M")
