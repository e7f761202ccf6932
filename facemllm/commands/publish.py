"""`facemllm publish`: put a corpus or a model on the Hub."""

import argparse
import json
import sys
from functools import partial
from typing import Any

from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError

from .options import check_not_written, given

HELP = (
    "Publish on the Hugging Face Hub.\n\n"
    "The same command goes on with an upload that was interrupted, and sends nothing when nothing has changed."
)
MAX_LISTED = 100
EXAMPLE = "facemllm publish corpus corpora/fairface my-lab/fairface-conversations --private"
MODEL_EXAMPLE = "facemllm publish model runs/face_mllm/stage3_face_tasks my-lab/face-mllm --report reports/fairface"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="WHAT", required=True)
    corpus = kinds.add_parser(
        "corpus",
        help="a complete corpus, with its card",
        description=(
            "Upload a complete corpus: checked first, shards next, the card last, so nobody loads half of one.\n\n"
            "A corpus of real people is gated: readers apply, and you approve. What may not be passed on is refused:\n"
            "web pictures of LAION-Face, and pictures and labels of data sets under an agreement."
        ),
        epilog=f"example: {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    corpus.add_argument("folder", metavar="DIR", help="the folder that the corpus was built in")
    _add_common(corpus, "take the place of another corpus in the repository")
    corpus.add_argument(
        "--gate",
        choices=("manual", "auto", "none"),
        help="who may read the files: those you approve (default for people), those who apply, or everybody",
    )
    corpus.add_argument(
        "--i-may-pass-this-on",
        dest="may_pass_on",
        action="store_true",
        help="you have the right to pass on pictures or labels of people whose terms do not give it to everybody",
    )
    corpus.set_defaults(publish=_publish_corpus)
    _add_model_arguments(kinds)


def _add_model_arguments(kinds: Any) -> None:
    model = kinds.add_parser(
        "model",
        help="a trained model, with its card and its measured numbers",
        description=(
            "Upload a model folder in one commit: weights, processor, its own code, the card. Looked at first:\n"
            "a folder that does not load, and a training checkpoint, are refused. Checkpoints, logs, predictions and\n"
            "pictures that lie in the folder are not sent. Evaluation reports give the card its model-index. An ONNX\n"
            "export (facemllm export) is published the same way, into a repository of its own."
        ),
        epilog=f"example: {MODEL_EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model.add_argument("folder", metavar="MODEL_DIR", help="what training left, LoRA adapters, or an ONNX export")
    _add_common(model, "take the place of another kind of model")
    model.add_argument(
        "--report",
        dest="reports",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of facemllm evaluate --out: their headline numbers go into the card's model-index",
    )
    model.add_argument("--race", action="store_true", help="put figures about race there too")
    model.add_argument(
        "--base-model",
        metavar="ORG/NAME",
        help="the model that LoRA adapters belong to, if they name a folder; that an ONNX export was made from",
    )
    model.add_argument("--trust-remote-code", action="store_true", help="allow code of other makers' models to run")
    model.add_argument("--dry-run", action="store_true", help="say what would be sent, and the card; ask no Hub")
    model.set_defaults(publish=_publish_model)


def _add_common(parser: argparse.ArgumentParser, overwrite: str) -> None:
    parser.add_argument("repository", metavar="ORG/NAME", help="the repository; made if it is not there")
    parser.add_argument("--private", action="store_true", help="make it private: only members see it")
    parser.add_argument("--revision", default="main", metavar="BRANCH", help="branch to write to (default: main)")
    parser.add_argument("--overwrite", action="store_true", help=overwrite)
    parser.add_argument("--yes", action="store_true", help="do not ask before sending, as on a terminal")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    check_not_written("", args.folder)
    report, summary = args.publish(args)
    print(json.dumps(report, indent=2) if args.json else in_terminal(summary, lines=True))
    return 0


def _publish_corpus(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from facemllm.publishing.corpus import publish_corpus

    options = given(args, "private", "gate", "revision", "may_pass_on", "overwrite")
    report = publish_corpus(args.folder, args.repository, look=partial(_before_sending, args), **options)
    return report, _corpus_summary(report)


def _publish_model(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from facemllm.publishing.model import publish_model

    options = given(args, "reports", "race", "base_model", "private", "revision", "overwrite", "dry_run")
    options["trust_remote_code"] = args.trust_remote_code
    report = publish_model(args.folder, args.repository, look=partial(_before_sending, args), **options)
    return report, _plan(report) if args.dry_run else _model_summary(report)


def _before_sending(args: argparse.Namespace, files: dict[str, int]) -> None:
    """List what goes; on a terminal, ask. Raises `UserError` when the answer is not yes."""
    print(f"{args.folder}: {_amount(files)} to {args.repository}", *_listed(files), sep="\n", file=sys.stderr)
    if args.yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    print("Send them? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError(f"{args.repository}: nothing was sent; answer y, or give --yes")


def _amount(files: dict[str, int]) -> str:
    return f"{len(files):,} files, {sum(files.values()) / 1e6:,.1f} MB"


def _listed(files: dict[str, int]) -> list[str]:
    """A line for each file, or, where there are many of them, for each folder."""
    if len(files) <= MAX_LISTED:
        return [f"{size:>14,}  {name}" for name, size in sorted(files.items())]
    sizes: dict[str, dict[str, int]] = {}
    for name, size in files.items():
        folder = name.rpartition("/")[0]
        sizes.setdefault(f"{folder}/ ({{}} files)" if folder else name, {})[name] = size
    return [f"{sum(held.values()):>14,}  {name.format(len(held))}" for name, held in sorted(sizes.items())]


def _model_summary(report: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"{report['url']}: {'private' if report['private'] else 'public'}",
            *_sent(report, "files"),
            f"{report['results']} measured numbers in the card's model-index",
            *report["notes"],
            *report["load"],
        ]
    )


def _plan(report: dict[str, Any]) -> str:
    total = f"{_amount(report['sent'])}, would go to {report['repository']}"
    return "\n".join([total, *_listed(report["sent"]), *_left_out(report), *report["notes"], "", report["card"]])


def _corpus_summary(report: dict[str, Any]) -> str:
    gates = {
        "manual": "files for those you approve",
        "auto": "files for those who apply",
        False: "files for everybody",
    }
    readers = "members only" if report["private"] else gates[report["gated"]]
    if report["private"] and report["gated"]:
        readers += f" (gate if it becomes public: {report['gated']})"
    lines = [f"{report['url']}: {'private' if report['private'] else 'public'}, {readers}"]
    return "\n".join([*lines, *_sent(report, "shards"), *report["load"]])


def _sent(report: dict[str, Any], what: str) -> list[str]:
    if report["new_files"] or report["removed_files"]:
        megabytes = report["new_bytes"] / 1e6
        old = report["files"] - report["new_files"]
        lines = [f"{report['new_files']:,} files new or changed ({megabytes:,.1f} MB), {old:,} there already"]
        if report["removed_files"]:
            lines.append(f"{report['removed_files']:,} {what} of an earlier version removed")
        lines.append(f"commit {report['commit']}, {report['seconds']:.1f} s")
    else:
        lines = [f"nothing to do: all {report['files']:,} files are there, commit {report['commit']}"]
    return lines + _left_out(report)


def _left_out(report: dict[str, Any]) -> list[str]:
    if not report["ignored"]:
        return []
    names = ", ".join(report["ignored"][:3]) + (", ..." if len(report["ignored"]) > 3 else "")
    return [f"not sent, since it is no part of it: {names}"]
