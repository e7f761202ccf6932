"""What the card of a corpus says to the Hub and to people, read from the folder that was written."""

import re

import pytest
import yaml
from PIL import Image

from datasets_scripts.corpus.card import pictures_carried
from datasets_scripts.corpus.writing import write_corpus
from datasets_scripts.schema import assistant_turn, make_record, user_turn

ANNOTATION = {"annotator": "some-org/some-model", "prompt_version": "faces-1", "date": "2026-11-20"}


def rows(**columns):
    columns = {"source": "squares", "license": "cc-by-4.0"} | columns
    return [
        make_record(
            id=f"squares/{index}",
            image=Image.new("RGB", (8, 8)),
            url=f"{index}.png",
            messages=[user_turn("How red?", image=True), assistant_turn("Not at all.")],
            task="vqa",
            split="train",
            **columns,
        )
        for index in range(4)
    ]


def card(tmp_path, records=None, **about):
    """The card's YAML as a mapping, and its text."""
    about = {"name": "Squares", "license": "cc-by-4.0", "description": "Black squares.", "progress": False, **about}
    configs = ("captions", "vqa", "face_tasks", "zero_shot")
    write_corpus({config: {"train": records or rows()} for config in configs}, tmp_path / "out", **about)
    metadata, text = re.match(
        r"---\n(.*?)\n---\n(.*)", (tmp_path / "out" / "README.md").read_text(), re.DOTALL
    ).groups()
    return yaml.safe_load(metadata), text


def test_the_hub_finds_what_it_makes_a_croissant_file_of(tmp_path):
    data, text = card(tmp_path)
    assert [config["config_name"] for config in data["configs"]] == ["captions", "vqa", "face_tasks", "zero_shot"]
    assert data["configs"][0]["data_files"] == [{"split": "train", "path": "captions/train-*.parquet"}]
    info = data["dataset_info"][0]
    assert info["splits"] == [{"name": "train", "num_bytes": info["dataset_size"], "num_examples": 4}]
    assert {"name": "image", "dtype": "image"} in info["features"]
    assert data["license"] == "cc-by-4.0" and data["pretty_name"] == "Squares" and data["language"] == ["en"]
    assert text.startswith("\n# Squares\n\nBlack squares.\n")


def test_the_categories_say_what_the_configs_are_for_and_how_much_there_is(tmp_path):
    data, _ = card(tmp_path)
    assert data["task_categories"] == [
        "image-text-to-text",
        "image-to-text",
        "visual-question-answering",
        "image-classification",
        "zero-shot-image-classification",
    ]
    assert data["size_categories"] == ["n<1K"] and "annotations_creators" not in data


def test_a_corpus_of_people_asks_who_wants_its_files_and_a_drawn_one_does_not(tmp_path):
    people, _ = card(tmp_path / "people")
    drawn, text = card(tmp_path / "drawn", people=False)
    assert "biometric data" in people["extra_gated_prompt"] and people["extra_gated_button_content"]
    kinds = [kind if isinstance(kind, str) else kind["type"] for kind in people["extra_gated_fields"].values()]
    assert set(kinds) == {"text", "country", "select", "checkbox"}
    assert any("identify people" in name for name in people["extra_gated_fields"])
    assert "biometrics" in people["tags"] and not any("gated" in key for key in drawn) and "show nobody" in text


def test_the_gate_can_be_left_out_or_put_up_against_the_rule(tmp_path):
    open_one, _ = card(tmp_path / "open", gated=False)
    shut, _ = card(tmp_path / "shut", people=False, gated=True)
    assert "extra_gated_fields" not in open_one and "extra_gated_fields" in shut


def test_terms_that_the_hub_has_no_name_for_are_named_and_linked(tmp_path):
    data, text = card(tmp_path, license="other", license_name="square-terms", license_link="https://example.org/terms")
    assert [data[key] for key in ("license", "license_name", "license_link")] == [
        "other",
        "square-terms",
        "https://example.org/terms",
    ]
    assert "[square-terms](https://example.org/terms)" in text
    unnamed, _ = card(tmp_path / "unnamed", license="other", name="My Squares!")
    assert unnamed["license_name"] == "my-squares-terms" and "license_link" not in unnamed


def test_the_terms_of_every_source_are_quoted(tmp_path):
    _, text = card(tmp_path, notices=["Squares: for research only.", "Circles: ask first."])
    assert "## Terms\n\nSquares: for research only.\n\nCircles: ask first.\n" in text


def test_words_that_a_model_wrote_are_said_to_be_its_own(tmp_path):
    later = rows(annotation={**ANNOTATION, "date": "2026-11-23"})
    data, text = card(tmp_path, [*rows(annotation=ANNOTATION), *later, *rows()])
    assert data["annotations_creators"] == ["machine-generated"]
    assert "## Words written by a model" in text and "they can be wrong" in text
    assert "| some-org/some-model | faces-1 | 2026-11-20 to 2026-11-23 | 32 |" in text  # in four configs
    _, without = card(tmp_path / "without")
    assert "Words written by a model" not in without


@pytest.mark.parametrize(("images", "warned"), [(True, True), (False, False)])
def test_pixels_of_web_pictures_are_warned_of_first_of_all(images, warned, tmp_path):
    _, text = card(tmp_path, rows(source="LAION-Face", license="other"), include_images=images)
    assert ("carries the pixels of 4 pictures from the web" in text) == warned
    if warned:
        assert text.index("## Warning") < text.index("## The rows")


def test_a_picture_counts_once_however_many_configs_and_pairs_tell_of_it():
    splits = {"train": {"rows": 10}, "validation": {"rows": 3}}
    configs = {"captions": {"train": {"rows": 9}}, "vqa": splits, "pairs": {"train": {"rows": 80}}}
    assert pictures_carried({"configs": configs, "pictures": 102}) == 13
    assert pictures_carried({"configs": configs, "pictures": 0}) == 0


def test_a_resumed_build_counts_what_its_finished_shards_hold(tmp_path):
    calls = []

    def interrupted():
        yield from rows(annotation=ANNOTATION)
        if not calls:
            calls.append(1)
            raise KeyboardInterrupt
        yield from rows()

    words = {"name": "Squares", "license": "cc-by-4.0", "description": "Squares.", "progress": False}
    words |= {"build": {"seed": 0}, "shard_rows": 4}
    with pytest.raises(KeyboardInterrupt):
        write_corpus({"vqa": {"train": interrupted}}, tmp_path / "out", **words)
    report = write_corpus({"vqa": {"train": interrupted}}, tmp_path / "out", **words)
    assert report["annotations"] == [{**ANNOTATION, "rows": 4}]
    assert report["rows_written"] == 4 and report["pictures"] == 8
    assert report["sources"] == ["squares"] and report["licenses"] == ["cc-by-4.0"]
