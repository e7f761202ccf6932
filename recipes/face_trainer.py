"""``trl.SFTTrainer`` for conversations tokenised already: it counts questions and marks complete checkpoints."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import SFTTrainer

from recipes.run_folder import COMPLETE


class FaceSFTTrainer(SFTTrainer):
    """SFTTrainer that takes the batches of ``ConversationCollator``.

    ``log_folder`` is where TensorBoard files go; None writes none.
    """

    def __init__(self, *args: Any, log_folder: Path | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._counts = torch.zeros(3, dtype=torch.int64, device=self.args.device)
        self.add_callback(MarkComplete(self.accelerator))
        if log_folder is not None:
            from transformers.integrations import TensorBoardCallback

            callback = TensorBoardCallback()
            callback.logging_dir = str(log_folder)
            self.add_callback(callback)

    def compute_loss(self, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        turns, unreadable = inputs.pop("num_turns"), inputs.pop("num_unreadable")
        if model.training:
            self._counts += torch.stack([turns.new_tensor(turns.numel()), turns.sum(), unreadable.sum()])
        return super().compute_loss(model, inputs, *args, **kwargs)

    def totals(self) -> tuple[int, int, int]:
        """Conversations, questions and unreadable pictures since this process group began to train, over all of it."""
        return tuple(self.accelerator.reduce(self._counts, reduction="sum").tolist())


class MarkComplete(TrainerCallback):
    """Puts a marker into a checkpoint once every process has written its part: only those are gone on from."""

    def __init__(self, accelerator: Any):
        self.accelerator = accelerator

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()
