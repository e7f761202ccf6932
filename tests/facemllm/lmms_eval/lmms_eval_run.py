"""Run by a Python that has lmms-eval: evaluate facemllm's tasks, and write what lmms-eval logged to a JSON file.

The argument is a JSON object: `model`, `out`, `runs` (name to `tasks` and `force_simple`).
"""

import json
import sys


def main() -> None:
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    from facemllm.lmms_eval import TASKS

    arguments = json.loads(sys.argv[1])
    logged = {}
    for name, run in arguments["runs"].items():
        results = simple_evaluate(
            model="facemllm",
            model_args=f"pretrained={arguments['model']}",
            batch_size=3,
            device="cpu",
            log_samples=True,
            # lmms-eval's own thousand tasks are not read: that alone takes seconds
            task_manager=TaskManager("ERROR", include_path=str(TASKS), include_defaults=False, model_name="facemllm"),
            **run,
        )
        logged[name] = {
            task: {
                "figures": results["results"][task],
                "answers": [sample["filtered_resps"] for sample in sorted(samples, key=lambda one: one["doc_id"])],
            }
            for task, samples in results["samples"].items()
        }
    with open(arguments["out"], "w", encoding="utf-8") as file:
        json.dump(logged, file, default=str)


if __name__ == "__main__":
    main()
