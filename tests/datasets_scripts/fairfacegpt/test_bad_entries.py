"""Each bad entry of a `dataset.json` is a counted rejection, also in a rerun, and the good ones stay."""

import json

import pytest
from PIL import Image

from datasets_scripts.fairfacegpt.published import build_published


def entry(image="val/1.jpg", value="A man stands here in the light.", **more):
    turns = [{"from": "human", "value": "<image>Describe this image."}, {"from": "gpt", "value": value}]
    return {"image": image, "conversations": turns, **more}


def nested(where, levels=100_000):
    return json.dumps(where).replace('"DEEP"', "[" * levels + "]" * levels)


BAD = {
    "an empty object": ("{}", "no conversations"),
    "an empty list": ("[]", "no conversations"),
    "null": ("null", "no conversations"),
    "a list of entries": (json.dumps([entry()]), "no conversations"),
    "nested": (nested("DEEP"), "nested too deeply"),
    "nested turns": (nested({**entry(), "conversations": ["DEEP"]}), "nested too deeply"),
    "an id of 5,000 digits": ('{"id": ' + "9" * 5000 + "}", "no conversations"),
    "no turns": (json.dumps({**entry(), "conversations": []}), "question without an answer"),
    "empty turns": (json.dumps({**entry(), "conversations": [[], {}]}), "malformed turn"),
    "a role that is a list": (
        json.dumps({"image": "1.jpg", "conversations": [{"from": ["human"], "value": "q"}]}),
        "turn of an unknown role",
    ),
    "the root": (json.dumps(entry("/")), "no image"),
    "the folder": (json.dumps(entry(".")), "no image"),
    "a drive": (json.dumps(entry("C:\\")), "no image"),
    "the folder above": (json.dumps(entry("..")), "image outside the folder"),
    "a folder": (json.dumps(entry("val")), "missing image"),
    "a short path": (json.dumps(entry("3.jpg")), "missing image"),
    "a long name": (json.dumps(entry("a" * 5000)), "missing image"),
    "a link to itself": (json.dumps(entry("val/loop.jpg")), "missing image"),
    "a name that is no text": (json.dumps(entry("val/\ud800.jpg")), "text that cannot be stored"),
    "words that are no text": (json.dumps(entry(value="A man \ud800 here.")), "text that cannot be stored"),
    "a long text": (json.dumps(entry(value="Q " * 10**6)), "text of more than 100,000 characters"),
    "the same face under another name": (json.dumps(entry("val/1.png")), "id of an earlier face"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
def test_a_bad_entry_is_counted_and_the_others_are_kept(tmp_path, bad, reason):
    folder = tmp_path / "fairface"
    (folder / "val").mkdir(parents=True)
    for name in ("1.jpg", "2.jpg", "1.png"):
        Image.new("RGB", (40, 40)).save(folder / "val" / name)
    (folder / "val/loop.jpg").symlink_to("loop.jpg")
    good = [json.dumps(entry("data/fairface/val/1.jpg")), json.dumps(entry("data/fairface/val/2.jpg"))]
    if "1.png" in bad:
        bad = bad.replace("val/1.png", "data/fairface/val/1.png")
    (tmp_path / "dataset.json").write_text(f"[{good[0]},{bad},{good[1]}]")
    for again in range(2):
        report = build_published(tmp_path / "dataset.json", folder, tmp_path / "out", progress=False)
        counted = report["configs"]["vqa"]["train"]
        assert (counted["rows"], counted["skipped"]) == (2, {reason: 1})
        assert report["rows_written"] == 0 or not again
