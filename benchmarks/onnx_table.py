"""ONNX folders against PyTorch and onnxruntime-genai: one model, one prompt, one table.

    python -m benchmarks.onnx_table [--genai-python PYTHON] [--rounds 5] [--threads 1] [--work DIR] [--json]
    python -m benchmarks.onnx_table --device cuda --size large

The model has random weights: 156 M parameters (SigLIP base, 224 pixels, 196 image tokens; a Qwen3 of 63 M), or, with
`--size large`, the shape of Qwen3-0.6B behind the same encoder. Prompts have 228 tokens, answers 64, greedy.

- `PyTorch eager` and `PyTorch compile`: transformers' `generate`; the latter with its static cache
- `ONNX`: `facemllm export` in each precision, run by `FaceMLLMForONNX`; rows of a batch with `--batch`'s export
- `genai`: what onnxruntime-genai's model builder makes of the same language model with its defaults, in the
  environment of `--genai-python`. It has no image encoder here, and no embeddings go in.

Each variant is a process that stays loaded. They take turns at each measurement, so that whatever else a machine does
meets all of them alike; the first round warms up, the median of the others is reported. On CUDA PyTorch runs in
bfloat16, ONNX in float16, with 1, 8 and 64 rows.

What bounds each figure is given beside it, as the share it reaches of what the machine gave in the same run: decoding
reads all weights for each token (memory bandwidth; weights that fit into the caches can pass it), prompts and images
are arithmetic (of float32; integers can pass it).
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.onnx_runner import MEASUREMENTS
from benchmarks.scoring import face_questions
from datasets_scripts.files import package_versions
from facemllm.cli import UserError
from facemllm_onnx.benchmark import NEW, markdown_table, sample_inputs, workload
from facemllm_onnx.export.folder import describe_graphs, whole_folder, write_record
from facemllm_onnx.export.precisions import QUANTIZED
from facemllm_onnx.export.quantize import quantize_graphs
from facemllm_onnx.export_location import GRAPH_FOLDER

EAGER, COMPILED = "PyTorch eager", "PyTorch compile"
IMAGE_SIZE, QUESTIONS = 224, 40
COLUMNS = {
    "prompt_ms": "prompt, ms",
    "tokens_per_s": "tokens/s",
    "first_token_ms": "first token with an image, ms",
    "images_per_s": "images/s",
    "questions_per_s": "questions/s",
    "peak_mb": "peak memory without scoring, MB",
}
SHARES = {
    "tokens_per_s_of_eager": "tokens/s, of eager's",
    "prompt_ms_of_eager": "prompt's time, of eager's",
    "first_token_ms_of_eager": "first token's time, of eager's",
    "same_tokens": f"first tokens as eager's, of {NEW}",
    "share_of_bandwidth": "decoding: share of memory bandwidth",
    "share_of_arithmetic_prompt": "prompt: share of arithmetic",
    "share_of_arithmetic_image": "image: share of arithmetic",
}


def main(argv: list[str] | None = None) -> int:
    """Export, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onnx_table", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is reported (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU for every variant (default: 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where everything runs")
    parser.add_argument("--size", choices=("small", "large"), default="small", help="156 M or 0.7 B parameters")
    parser.add_argument("--genai-python", metavar="PYTHON", help="where onnxruntime-genai, onnx and torch are")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="e.g. 'PyTorch eager' 'ONNX int4'")
    parser.add_argument("--work", metavar="DIR", type=Path, help="keep model and exports; take those that are there")
    parser.add_argument("--json", action="store_true", help="write the figures as JSON")
    args = parser.parse_args(argv)
    for name, value in (("rounds", args.rounds), ("threads", args.threads)):
        if value < 1:
            parser.error(f"--{name} {value}: give 1 or more")
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(args.threads)))
    os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        try:
            report = benchmark(work, args)
        except UserError as error:
            parser.error(str(error))
    sys.stdout.write(json.dumps(report) + "\n" if args.json else describe(report))
    return 0


def benchmark(work: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Everything that is reported, as JSON."""
    possible = _variants(args.device, 1, args.genai_python)
    if unknown := [name for name in args.only or () if name not in possible]:
        raise UserError(f"--only {unknown[0]!r}: no such variant; there are {', '.join(possible)}")
    model = make_model(work, args.size)
    speed = machine_speed(args.device, args.threads)
    tables = []
    for rows in (1,) if args.device == "cpu" else (1, 8, 64):
        variants = _variants(args.device, rows, args.genai_python)
        variants = {name: variant for name, variant in variants.items() if name in (args.only or variants)}
        inputs = _inputs(work, model, rows)
        commands = {name: _command(variant, work, model, inputs, rows, args) for name, variant in variants.items()}
        genai = {name for name, (runtime, _) in variants.items() if runtime == "genai"}
        seconds = measure(commands, args.rounds, inputs, genai)
        figures = {}
        for name, (_, precision) in variants.items():
            # What bounds PyTorch's figures are the sizes of an export of its number type.
            folder = _export_folder(work, model, {"bf16": "fp16"}.get(precision, precision), args.device, rows)
            figures[name] = _figures(seconds[name], rows, None if name in genai else folder, model, speed)
        for figure in figures.values() if EAGER in figures else ():
            _compare(figure, figures[EAGER])
        tables.append({"rows": rows, "ways": figures})
    return {"machine": describe_machine(speed, args), "tables": tables}


def make_model(work: Path, size: str) -> Path:
    """The model's folder, made where it is not there yet."""
    folder = work / f"model-{size}"
    if (folder / "config.json").is_file():
        return folder
    from benchmarks.models import build_model

    texts = [f"{text} {' '.join(options)}" for text, options in face_questions(QUESTIONS)]
    model, processor = build_model(texts, IMAGE_SIZE, size)
    processor.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _inputs(work: Path, model: Path, rows: int) -> Path:
    from datasets_scripts.synthetic.faces import draw_face, sample_labels

    config = json.loads((model / "config.json").read_text())
    tokens = json.loads((model / "processor_config.json").read_text())["num_image_tokens"]
    size = config["vision_config"]["image_size"]
    prompt, with_image, pixels = sample_inputs(config["image_token_id"], tokens, size, rows)
    face = np.asarray(draw_face(sample_labels(0, 0, "train"), 0, 0, "train", size))
    questions = json.dumps(face_questions(QUESTIONS))
    path = work / f"inputs-{rows}.npz"
    np.savez(path, prompt=prompt, with_image=with_image, pixel_values=pixels, face=face, questions=questions)
    return path


def _variants(device: str, rows: int, genai_python: str | None) -> dict[str, tuple[str, str]]:
    """By name: what runs the model, and in which precision."""
    if device == "cuda":
        return {EAGER: ("eager", "bf16"), COMPILED: ("compile", "bf16"), "ONNX fp16": ("onnx", "fp16")}
    variants = {EAGER: ("eager", "fp32"), COMPILED: ("compile", "fp32")}
    runtimes = ("onnx", "genai") if genai_python and rows == 1 else ("onnx",)
    for runtime in runtimes:
        variants |= {f"{runtime.replace('onnx', 'ONNX')} {kind}": (runtime, kind) for kind in ("fp32", "int8", "int4")}
    return variants


def _command(
    variant: tuple[str, str], work: Path, model: Path, inputs: Path, rows: int, args: argparse.Namespace
) -> list[str]:
    """The process that times a variant; what it loads is made first."""
    runtime, precision = variant
    if runtime == "genai":
        folder = build_for_genai(work, model, precision, args.genai_python)
        script = Path(__file__).with_name("onnx_genai.py")
        return [args.genai_python, "-P", str(script), str(folder), str(args.threads), str(NEW)]
    folder = export(work, model, precision, args.device, rows) if runtime == "onnx" else model
    command = [sys.executable, "-m", "benchmarks.onnx_runner", runtime]
    return [*command, str(folder), str(inputs), args.device, str(args.threads)]


def export(work: Path, model: Path, precision: str, device: str, rows: int) -> Path:
    """The model's export, made where it is not there yet; integers from the weights of the float32 one."""
    out = _export_folder(work, model, precision, device, rows)
    if (out / "export.json").is_file():
        return out
    sys.stderr.write(f"making {out.name}\n")
    if precision not in QUANTIZED:
        command = [sys.executable, "-m", "facemllm", "export", str(model), str(out), "--precision", precision]
        _run([*command, "--device", device, *(["--batch"] if rows > 1 else [])], f"{out.name} cannot be made")
        return out
    exported = export(work, model, "fp32", device, rows)
    with whole_folder(out) as folder:  # as facemllm export --precision does, without tracing the weights again
        shutil.copytree(exported, folder, dirs_exist_ok=True)
        quantize_graphs(folder / GRAPH_FOLDER, precision, device=device)
        record = json.loads((folder / "export.json").read_text())
        write_record(record | {"precision": precision, "graphs": describe_graphs(folder)}, folder)
    return out


def _export_folder(work: Path, model: Path, precision: str, device: str, rows: int) -> Path:
    return work / f"{model.name}-{precision}-{device}{'-batch' if rows > 1 else ''}"


def build_for_genai(work: Path, model: Path, precision: str, python: str) -> Path:
    """The language model alone as onnxruntime-genai's builder writes it, made where it is not there yet."""
    out = work / f"{model.name}-genai-{precision}"
    if not (out / "genai_config.json").is_file():
        plain = work / f"{model.name}-language-model"
        if not (plain / "config.json").is_file():
            save_language_model(model, plain)
        sys.stderr.write(f"making {out.name}\n")
        command = [python, "-m", "onnxruntime_genai.models.builder", "-i", str(plain), "-o", str(out)]
        command += ["-p", precision, "-e", "cpu", "-c", str(work / "genai-cache")]
        _run(command, f"{out.name} cannot be made")
    return out


def save_language_model(model: Path, out: Path) -> None:
    """A Face-MLLM's language model as transformers' own class, which the builder reads, with head and tokenizer."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

    import modeling_facemllm

    modeling_facemllm.register()
    whole = AutoModelForImageTextToText.from_pretrained(model)
    plain = AutoModelForCausalLM.from_config(whole.config.text_config)
    plain.model.load_state_dict(whole.model.language_model.state_dict())
    plain.lm_head.load_state_dict(whole.lm_head.state_dict())
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    plain.save_pretrained(out)


def _run(command: list[str], failed: str) -> str:
    """What it writes to standard output. Raises `UserError` with the last line of its output."""
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        last = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
        raise UserError(f"{failed}: {last[-1] if last else 'no reason given'}")
    return ran.stdout


def measure(commands: dict[str, list[str]], rounds: int, inputs: Path, genai: set[str]) -> dict[str, dict]:
    """Median seconds of each variant and measurement, its tokens, its peak memory; the variants take turns."""
    with np.load(inputs) as arrays:
        prompt = json.dumps(arrays["prompt"][0].tolist())
    seen: dict[str, dict[str, list[float]]] = {name: {} for name in commands}
    rest: dict[str, dict[str, Any]] = {name: {} for name in commands}
    with contextlib.ExitStack() as stack:
        processes = {}
        for name, command in commands.items():
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            processes[name] = stack.enter_context(process)
            stack.callback(process.kill)
        for turn in tqdm(range(rounds + 1), desc="rounds"):
            for measurement, (name, process) in itertools.product(MEASUREMENTS, processes.items()):
                if name in genai and measurement != "generate":
                    continue
                answer = _ask(name, process, prompt if name in genai else measurement)
                peak = answer.pop("peak_mb")
                if turn == 0 and measurement != "scoring":  # which sets aside far more, for all its tokens at once
                    rest[name]["peak_mb"] = peak
                if "tokens" in answer:
                    rest[name]["tokens"] = answer.pop("tokens")
                for key, seconds in answer.items():
                    if turn and seconds is not None:
                        seen[name].setdefault(key, []).append(seconds)
        for process in processes.values():
            process.stdin.close()
    return {name: {key: statistics.median(of) for key, of in seen[name].items()} | rest[name] for name in commands}


def _ask(name: str, process: subprocess.Popen, question: str) -> dict[str, Any]:
    try:
        process.stdin.write(question + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())
    except (BrokenPipeError, json.JSONDecodeError):
        raise UserError(f"{name}: its process ended; its output is above") from None


def _figures(
    seconds: dict[str, Any], rows: int, folder: Path | None, model: Path, speed: dict[str, float]
) -> dict[str, Any]:
    """What is reported of a variant, from its median seconds."""
    figures = {
        "prompt_ms": 1000 * seconds["prompt_s"],
        "tokens_per_s": rows / seconds["token_s"],
        "first_token_ms": 1000 * seconds["first_s"] if "first_s" in seconds else None,
        "images_per_s": 1 / seconds["image_s"] if "image_s" in seconds else None,
        "questions_per_s": QUESTIONS / seconds["scoring_s"] if "scoring_s" in seconds else None,
        "peak_mb": seconds["peak_mb"],
        "tokens": seconds["tokens"],
    }
    if folder is not None and (folder / "export.json").is_file():
        record, config = (json.loads(path.read_text()) for path in (folder / "export.json", model / "config.json"))
        work = workload(record, config, rows)
        figures["share_of_bandwidth"] = work.bytes_per_token / seconds["token_s"] / speed["bytes_per_s"]
        figures["share_of_arithmetic_prompt"] = work.prompt_flops / seconds["prompt_s"] / speed["flops_per_s"]
        if "image_s" in seconds and work.image_flops is not None:
            figures["share_of_arithmetic_image"] = work.image_flops / seconds["image_s"] / speed["flops_per_s"]
    return figures


def _compare(figure: dict[str, Any], eager: dict[str, Any]) -> None:
    """Add how a variant compares with PyTorch eager, and how many tokens it agrees in until the first other one."""
    figure["tokens_per_s_of_eager"] = figure["tokens_per_s"] / eager["tokens_per_s"]
    for name in ("prompt_ms", "first_token_ms"):
        if figure[name] is not None and eager[name] is not None:
            figure[f"{name}_of_eager"] = figure[name] / eager[name]
    pairs = enumerate(zip(figure["tokens"], eager["tokens"], strict=False))
    figure["same_tokens"] = next((place for place, (own, other) in pairs if own != other), len(figure["tokens"]))


def machine_speed(device: str, threads: int) -> dict[str, float]:
    """Of the CPU with the threads that every variant has, or of the GPU; measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.onnx_runner", "machine", "", "", device, str(threads)]
    return json.loads(_run(command, f"--device {device}"))


def describe_machine(speed: dict[str, float], args: argparse.Namespace) -> dict[str, Any]:
    """What the figures were measured on and with."""
    cpus = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")]
    versions = package_versions("torch", "transformers", "onnx", "onnxruntime")
    if args.genai_python:
        code = "import importlib.metadata as m; print(m.version('onnxruntime-genai'))"
        ran = subprocess.run([args.genai_python, "-c", code], capture_output=True, text=True)
        versions["onnxruntime-genai"] = ran.stdout.strip() or "not found"
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        **{name: getattr(args, name) for name in ("threads", "device", "rounds")},
        "gigabytes_per_s": speed["bytes_per_s"] / 1e9,
        "gflops": speed["flops_per_s"] / 1e9,
        "versions": versions,
    }


def describe(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    found = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        f"{found['cpu']}, {found['threads']} of {found['cores']} cores, {found['device']}; {versions}; "
        f"median of {found['rounds']} interleaved rounds",
        f"memory {found['gigabytes_per_s']:.1f} GB/s read, arithmetic {found['gflops']:.0f} GFLOP/s, measured",
    ]
    for table in report["tables"]:
        variants = table["ways"]
        lines += ["", f"{table['rows']} prompt{'s' if table['rows'] > 1 else ''} at a time", ""]
        for columns, shown in ((COLUMNS, _number), (SHARES, _share)):
            rows = [[name, *(shown(of.get(column)) for column in columns)] for name, of in variants.items()]
            lines.append(markdown_table(["", *columns.values()], rows))
        for kind in ("fp32", "int8", "int4"):
            if {f"ONNX {kind}", f"genai {kind}"} <= variants.keys():
                ours, other = variants[f"ONNX {kind}"], variants[f"genai {kind}"]
                lines.append(
                    f"{kind} against genai {kind}: {ours['tokens_per_s'] / other['tokens_per_s']:.2f} × its tokens/s, "
                    f"{ours['prompt_ms'] / other['prompt_ms']:.2f} × its time for a prompt"
                )
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
