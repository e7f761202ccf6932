"""`facemllm export`: a Face-MLLM as an ONNX folder that is known to answer as the model does."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError
from facemllm_onnx.export_location import EXPORT_RECORD

from .options import MODEL_RULE, add_model_words, alone_in, given, resolve_model, split_model

HELP = (
    "Write a Face-MLLM as ONNX graphs, with its configuration, processor and tokenizer beside them, for onnxruntime\n"
    "and transformers.js. The graphs' answers are compared with the model's before OUT appears.\n\n"
    "The decoder is fused for one prompt at a time, which is fastest; with --batch it takes several at once. LoRA\n"
    "adapters are merged first: the model may be an adapter's folder, or --adapter names one.\n\n"
    f"{MODEL_RULE} Of two words\n"
    "the first is the model, and the second OUT."
)
EXAMPLE = "facemllm export photo-onnx --precision int8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_words(parser, "OUT", "folder to write; an earlier export there is replaced")
    parser.add_argument(
        "--backend",
        default="auto",
        help="transformers (its own exporter, from version 5), optimum, or auto, the one that is installed",
    )
    parser.add_argument("--precision", default="fp32", help="fp32, fp16, bf16, int8 or int4 (default: fp32)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda: what the graphs are fused for (default: cpu)")
    parser.add_argument("--batch", action="store_true", help="a decoder that takes several prompts at once, unfused")
    parser.add_argument(
        "--no-scoring",
        action="store_true",
        help="leave out the graph for closed questions, which holds all weights a second time",
    )
    parser.add_argument("--adapter", metavar="DIR", help="a PEFT adapter of MODEL, merged into it first")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")
    parser.add_argument("--json", action="store_true", help="print the record (OUT/export.json) as JSON")


def run(args: argparse.Namespace) -> int:
    from facemllm.inference.exports import is_onnx_export
    from facemllm.inference.identity import identify
    from facemllm_onnx.export.folder import ExportArgumentError, ExportError
    from facemllm_onnx.export.request import ExportRequest

    (args.out,) = split_model(args, "OUT", is_input=_is_export, one=True)
    resolve_model(args)
    try:
        options = given(args, "backend", "precision", "device", "batch")
        request = ExportRequest(Path(args.out).expanduser(), scoring=not args.no_scoring, **options).checked()
        if is_onnx_export(args.model):
            raise UserError(f"{args.model}: is an ONNX export already; give the model that it was made from")
        from transformers.utils import logging

        from facemllm.inference.loading import load_model
        from facemllm_onnx.export.exporter import write_export

        logging.disable_progress_bar()
        with alone_in("OUT", request.out, beside=True):
            model, processor = load_model(args.model, "cpu", args.trust_remote_code, args.adapter)
            source = {"name": args.model_name, "digest": identify(args.model, args.adapter), "adapter": args.adapter}
            record = write_export(request, model, processor, source=source, progress=True)
    except ExportArgumentError:
        raise
    except ExportError as error:
        raise UserError(str(error)) from error
    print(json.dumps(record, indent=2) if args.json else in_terminal(_summary(Path(args.out), record), lines=True))
    return 0


def _is_export(word: str) -> bool:
    """An earlier export can be OUT, and no model to export."""
    return (Path(word).expanduser() / EXPORT_RECORD).is_file()


def _summary(out: Path, record: dict[str, Any]) -> str:
    rows = "one prompt at a time" if record["batch"] == "one" else "several prompts at once"
    lines = [f"{out}: {record['precision']} for {record['device']}, {rows}, {record['backend']} backend"]
    for graph in record["graphs"].values():
        lines.append(f"  {graph['file']:<32}{graph['bytes'] / 1e6:10.1f} MB")
    lines += [f"  {precision}: {_checked(found)}" for precision, found in record["parity"].items()]
    lines.append(f'Ask it: facemllm ask {shlex.quote(str(out))} face.png "What is the expression?"')
    return "\n".join(lines)


def _checked(found: dict[str, Any]) -> str:
    if found["provider"] is None:
        return f"NOT CHECKED, there is no CUDA here and the CPU cannot run these graphs ({found['unchecked']})"
    prompts = found["prompts"].values()
    equal, tokens = (sum(prompt[key] for prompt in prompts) for key in ("equal", "tokens"))
    difference = max(prompt["difference"] for prompt in prompts)
    scores = f", scores by {found['scores']['difference']:.1e} nats" if "scores" in found else ""
    report = f"{equal} of {tokens} tokens as the model's, logits differ by {difference:.1e} of the largest{scores}"
    computed = f", computed in {found['computed_in']}" if "computed_in" in found else ""
    return f"{report}, on {found['provider']}{computed}"
