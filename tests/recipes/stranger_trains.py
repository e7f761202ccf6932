"""TRL's trainers on a downloaded folder, in a process that does not have this project. Run as a script:

python -P stranger_trains.py FOLDER SETTINGS REPORT
"""

import importlib.util
import json
import pathlib
import sys

# An editable install of the project would otherwise answer the remote code's imports.
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path[:] = [entry for entry in sys.path if not (pathlib.Path(entry or ".") / "modeling_facemllm").is_dir()]


def main(folder: str, settings: str, report: str) -> None:
    if importlib.util.find_spec("modeling_facemllm") is not None:
        raise SystemExit("modeling_facemllm is importable: this process is no stranger")

    import torch
    from datasets import Dataset
    from PIL import Image
    from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

    prompt = [{"role": "user", "content": "Is it red?"}]
    yes, no = [{"role": "assistant", "content": "yes"}], [{"role": "assistant", "content": "no"}]

    def rows(**columns) -> Dataset:
        return Dataset.from_list([{"images": [Image.new("RGB", (16, 16), "red")], **columns} for _ in range(8)])

    def reward(completions: list, **kwargs) -> list[float]:
        return [float(place % 2) for place in range(len(completions))]

    common = {**json.loads(settings), "trust_remote_code": True}
    trainers = [
        SFTTrainer(
            model=folder, args=SFTConfig(max_length=None, **common), train_dataset=rows(prompt=prompt, completion=yes)
        ),
        DPOTrainer(
            model=folder,
            args=DPOConfig(max_length=None, **common),
            train_dataset=rows(prompt=prompt, chosen=yes, rejected=no),
        ),
        GRPOTrainer(
            model=folder,
            args=GRPOConfig(num_generations=2, max_completion_length=4, **common),
            train_dataset=rows(prompt=prompt),
            reward_funcs=reward,
        ),
    ]
    runs = {}
    for trainer in trainers:
        before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
        trainer.train()
        runs[type(trainer).__name__] = {
            "module": type(trainer.model).__module__.split(".")[0],
            "logged": [entry for entry in trainer.state.log_history if "loss" in entry],
            "moved": sum(not torch.equal(before[name], weight) for name, weight in trainer.model.named_parameters()),
        }
    pathlib.Path(report).write_text(json.dumps(runs))


if __name__ == "__main__":
    main(*sys.argv[1:])
