"""The quickstart's three stages, two steps each: everything real but the accuracy."""

import json
from pathlib import Path

STAGES = {
    "stage1_alignment": (["projector"], ["captions"]),
    "stage2_vqa": (["projector", "language_model"], ["vqa", "text"]),
    "stage3_face_tasks": (["all"], ["face_tasks", "text"]),
}


def write_small_recipes(folder: Path) -> Path:
    """Write the stages' recipes into `folder`, for `Plan.recipes`; which towers they start from, the plan says."""
    for name, (trainable, configs) in STAGES.items():
        recipe = {
            "model": {"trainable": trainable},
            "data": [{"path": "drawn", "config": config, "max_rows": 8} for config in configs],
            "trainer": {"max_steps": 2, "per_device_train_batch_size": 4, "logging_steps": 1, "use_cpu": True},
            "output_dir": "elsewhere",
        }
        if name == "stage1_alignment":
            recipe["model"] |= {"vision": "elsewhere", "text": "elsewhere", "pixel_shuffle_factor": 2}
        (folder / f"{name}.yaml").write_text(json.dumps(recipe))
    return folder
