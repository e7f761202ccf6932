"""`facemllm upgrade`: today's code beside the weights of a model that older code saved."""

import argparse
import json
from typing import Any

from datasets_scripts.shown_text import in_terminal

HELP = (
    "Put today's code beside old weights: a model folder carries the code that saved it, and a later transformers\n"
    "may break it. A folder is upgraded in its own place, or copied to --out; a Hub id is downloaded to --out.\n\n"
    "Files named *_facemllm.py, and what names them in the JSON files, are replaced; weights never. The new files\n"
    "are loaded in a second process before the first old one goes. A kill leaves the old folder, or one that the\n"
    "same command finishes."
)
EXAMPLE = "facemllm upgrade old/model --out new/model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder or a Hub id")
    parser.add_argument("--out", metavar="NEW", help="folder for an upgraded copy, new or empty; a Hub id needs it")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub id")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    from facemllm.model_code.upgrade import upgrade_model

    report = upgrade_model(args.model, args.out, args.revision)
    print(json.dumps(report, indent=2) if args.json else in_terminal(_summary(report, args.out), lines=True))
    return 0


def _summary(report: dict[str, Any], out: str | None) -> str:
    model, base, tested = report["model"], report["base_model"], report["transformers_tested"]
    lines = []
    if report["folder"] is not None:
        lines.append(f"{report['folder']}: today's code, tested on transformers {tested}")
        lines += [f"  {kind:<9}{', '.join(report[kind])}" for kind in ("added", "replaced", "removed") if report[kind]]
        lines.append(_checked(report))
        lines.append(f"Publish it: {report['publish']}")
    else:
        why = "an adapter without code" if tested is None else f"its code is today's, tested on transformers {tested}"
        lines.append(f"{model}: nothing to do, {why}" + (f"; {out} was not written" if out else ""))
    if base is not None:
        lines.append(f"Its base model is {base}: that one has to be upgraded too, if it is a Face-MLLM")
    return "\n".join(lines)


def _checked(report: dict[str, Any]) -> str:
    if report["not_run"]:
        return f"Not loaded, since it names code of others, which upgrade does not run: {', '.join(report['not_run'])}"
    return f"Loaded with its own code on transformers {report['checked']}: configuration, processor, model's classes"
