"""The dataset card of a corpus: YAML that the Hub and ``load_dataset`` read, and plain sections for people."""

from collections.abc import Mapping
from typing import Any

from datasets import DatasetInfo, Features
from datasets.info import DatasetInfosDict

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
REASONS_SHOWN = 20

PEOPLE = """\
The pictures show real people. A face is biometric data: whoever holds this corpus answers for having a right to hold
it, for who may see it, and for deleting a picture when the person asks. Do not use it to identify anyone. Labels such
as age and gender are what annotators saw in a picture, not what the people say of themselves."""

DRAWN = "The faces are drawn by a program. They show nobody, and the corpus holds no personal data."

RACE = """\
Race labels are in this corpus because whoever built it asked for them. They are for auditing and balancing data and
models: how accurate is a model, and for whom. Categorising people by race is a prohibited use in the European Union
(AI Act, Article 5), and one word of a list says little about anybody."""

EMOTION = """\
Labels of expression say how a face looks, not what a person feels. Inferring the emotions of people at work or in
schools is a prohibited use in the European Union (AI Act, Article 5)."""

EMOTION_LABELS = {"expression", "valence", "arousal", "action_units"}

RECORD = """\
One row is one picture with a conversation about it: `image`, `messages` (chat turns; the picture stands first in the
first user turn), `task`, `labels` (what the turns were made from; null is unknown), `split`, `source`, `license`, and
`url`, `box` and `landmarks`, which say where a picture is to be found that is not carried."""


def card_text(manifest: Mapping[str, Any], features: Features, *, description: str, people: bool, command: str) -> str:
    """The whole README.md of the corpus that ``manifest`` (see ``publish.write_corpus``) counts."""
    from huggingface_hub import DatasetCardData

    configs = manifest["configs"]
    data = DatasetCardData(
        pretty_name=manifest["name"],
        language=["en"],
        license=manifest["license"],
        size_categories=[_size(sum(split["rows"] for splits in configs.values() for split in splits.values()))],
        task_categories=["image-text-to-text", "visual-question-answering"],
        tags=["face", "face-analysis", "facemllm", "biometrics" if people else "synthetic"],
        configs=[
            {
                "config_name": config,
                "data_files": [{"split": split, "path": f"{config}/{split}-*.parquet"} for split in splits],
            }
            for config, splits in configs.items()
        ],
    )
    infos = {config: _info(config, splits, features) for config, splits in configs.items()}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    return f"---\n{data.to_yaml()}\n---\n\n{_sections(manifest, description, people, command)}"


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


def _sections(manifest: Mapping[str, Any], description: str, people: bool, command: str) -> str:
    labels = set(manifest["labels"])
    sections = [f"# {manifest['name']}", description.strip(), RECORD, "## The people in the pictures"]
    sections.append(PEOPLE if people else DRAWN)
    if "race" in labels:
        sections += ["### Race", RACE]
    if labels & EMOTION_LABELS:
        sections += ["### Expression and emotion", EMOTION]
    sections += ["## Licence", _licence(manifest)]
    sections += ["## How it was built", f"```\n{command}\n```", _counts(manifest["configs"])]
    sections += ["## Rows left out, and why", _skipped(manifest["configs"])]
    sections += ["## Use", _use(manifest["configs"])]
    return "\n\n".join(sections) + "\n"


def _licence(manifest: Mapping[str, Any]) -> str:
    text = f"`{manifest['license']}`; the column `license` says it row by row, and `source` says whose work it is."
    return text if manifest["images"] else f"{text} The pictures are not carried here and keep the rights they have."


def _counts(configs: Mapping[str, Any]) -> str:
    lines = ["| config | split | rows | shards |", "|---|---|---|---|"]
    for config, splits in configs.items():
        lines += [f"| {config} | {name} | {split['rows']:,} | {split['shards']:,} |" for name, split in splits.items()]
    return "\n".join(lines)


def _skipped(configs: Mapping[str, Any]) -> str:
    lines = []
    for config, splits in configs.items():
        for name, split in splits.items():
            reasons = sorted(split["skipped"].items(), key=lambda entry: (-entry[1], entry[0]))
            lines += [f"- {config}, {name}: {reason}: {rows:,}" for reason, rows in reasons[:REASONS_SHOWN]]
            rest = sum(rows for _, rows in reasons[REASONS_SHOWN:])
            lines += [f"- {config}, {name}: other reasons: {rest:,}"] if rest else []
    return "\n".join(lines) or "None: every row of the source is here."


def _use(configs: Mapping[str, Any]) -> str:
    config = list(configs)[-1]
    split = next(iter(configs[config]))
    call = f'load_dataset("path/or/name", "{config}", split="{split}")  # streaming=True works too'
    return f"```python\nfrom datasets import load_dataset\n\nrows = {call}\n```"


def _size(rows: int) -> str:
    return next((name for limit, name in SIZES.items() if rows < limit), "n>10M" if rows > 10**8 else "10M<n<100M")
