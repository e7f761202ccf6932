"""``facemllm publish``: put a corpus on the Hub."""

import argparse
import json
from typing import Any

HELP = (
    "Publish on the Hugging Face Hub.\n\n"
    "The same command goes on with an upload that was interrupted, and sends nothing when nothing has changed."
)
EXAMPLE = "facemllm publish corpus corpora/fairface my-lab/fairface-conversations --private"


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
    corpus.add_argument("repository", metavar="ORG/NAME", help="the repository; made if it is not there")
    corpus.add_argument("--private", action="store_true", help="make it private: only members see it")
    corpus.add_argument(
        "--gate",
        choices=("manual", "auto", "none"),
        help="who may read the files: those you approve (default for people), those who apply, or everybody",
    )
    corpus.add_argument("--revision", default="main", metavar="BRANCH", help="branch to write to (default: main)")
    corpus.add_argument(
        "--i-may-pass-this-on",
        action="store_true",
        help="you have the right to pass on pictures or labels of people whose terms do not give it to everybody",
    )
    corpus.add_argument("--overwrite", action="store_true", help="take the place of another corpus in the repository")
    corpus.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    from facemllm.publishing import publish_corpus

    report = publish_corpus(
        args.folder,
        args.repository,
        private=args.private,
        gate=args.gate,
        revision=args.revision,
        may_pass_on=args.i_may_pass_this_on,
        overwrite=args.overwrite,
    )
    print(json.dumps(report, indent=2) if args.json else _summary(report))
    return 0


def _summary(report: dict[str, Any]) -> str:
    gates = {
        "manual": "files for those you approve",
        "auto": "files for those who apply",
        False: "files for everybody",
    }
    readers = "members only" if report["private"] else gates[report["gated"]]
    if report["private"] and report["gated"]:
        readers += f" (gate if it becomes public: {report['gated']})"
    lines = [f"{report['url']}: {'private' if report['private'] else 'public'}, {readers}"]
    if report["commits"]:
        megabytes = report["new_bytes"] / 1e6
        old = report["files"] - report["new_files"]
        lines.append(f"{report['new_files']:,} files new or changed ({megabytes:,.1f} MB), {old:,} there already")
        lines += (
            [f"{report['removed_files']:,} shards of an earlier version removed"] if report["removed_files"] else []
        )
        lines.append(f"commit {report['commit']}, {report['seconds']:.1f} s")
    else:
        lines.append(f"nothing to do: all {report['files']:,} files are there, commit {report['commit']}")
    if report["ignored"]:
        names = ", ".join(report["ignored"][:3]) + (", ..." if len(report["ignored"]) > 3 else "")
        lines.append(f"not sent, since it is not the corpus's: {names}")
    return "\n".join([*lines, *report["load"]])
