"""`trl.SFTTrainer` for conversations tokenised already: it counts questions and marks complete checkpoints."""

import functools
import types
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from transformers import PreTrainedModel, TrainerCallback
from trl import SFTTrainer
from trl.trainer.utils import FusedCausalLMOutput

from modeling_facemllm.versions_facemllm import without_head

from .optimizers import MuonWithAdamW, hidden_matrices
from .run_folder import COMPLETE
from .strict import NothingLearned, RecipeError

# A few damaged files in millions are life; beyond this share a run would spend days on blank pictures.
MAX_UNREADABLE = 0.05


class FaceSFTTrainer(SFTTrainer):
    """SFTTrainer that takes the batches of `ConversationCollator`.

    `log_folder` is where TensorBoard files go; None writes none. `muon` replaces the optimiser that the arguments
    name by `MuonWithAdamW` with their learning rate and weight decay.
    """

    def __init__(self, *args: Any, log_folder: Path | None = None, muon: bool = False, **kwargs: Any):
        self.muon = muon
        super().__init__(*args, **kwargs)
        score_labelled_positions(self.model.get_base_model() if is_peft_model(self.model) else self.model)
        self._counts = torch.zeros(3, dtype=torch.int64, device=self.args.device)
        self.add_callback(MarkComplete(self.accelerator))
        if log_folder is not None:
            from transformers.integrations import TensorBoardCallback

            callback = TensorBoardCallback()
            callback.logging_dir = self.args.logging_dir = str(log_folder)  # transformers 4.57 reads the second
            self.add_callback(callback)

    def create_optimizer(self, *model: Any) -> torch.optim.Optimizer:
        # Passed on as it comes: below transformers 5.3 the trainer names no model here.
        if not self.muon:
            return super().create_optimizer(*model)
        if self.optimizer is None:
            matrices, others = hidden_matrices(next(filter(None, model), self.model))
            self.optimizer = MuonWithAdamW(matrices, others, self.args.learning_rate, self.args.weight_decay)
        return self.optimizer

    def compute_loss(self, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        turns, unreadable = inputs.pop("num_turns"), inputs.pop("num_unreadable")
        if model.training:
            self._counts += torch.stack([turns.new_tensor(turns.numel()), turns.sum(), unreadable.sum()])
        found = super().compute_loss(model, inputs, *args, **kwargs)
        if model.training and not (found[0] if isinstance(found, tuple) else found).isfinite():
            raise RecipeError(  # the trainer would log it as 0
                f"trainer.learning_rate: {self.args.learning_rate:g}: the loss is NaN or infinite in step "
                f"{self.state.global_step + 1}; give less, or a wider number type, and another output_dir"
            )
        return found

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, *args: Any) -> tuple[list, Any]:
        # transformers looks whether training is over after a step, never before the first one of a run taken up again.
        over = self.state.global_step >= self.state.max_steps
        return super().get_batch_samples(epoch_iterator, 0 if over else num_batches, *args)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        seen, questions, unreadable = self._counts.tolist()
        if unreadable:
            logs["unreadable_images"] = unreadable
        if unreadable > max(MAX_UNREADABLE * seen, 20):
            self.check_learned(questions, unreadable)
            raise RecipeError(
                f"data: {unreadable} of {seen} pictures could not be read, more than {MAX_UNREADABLE:.0%}: the "
                "corpus is damaged or its paths are wrong; the warnings above name the rows"
            )
        super().log(logs, *args, **kwargs)

    def check_learned(self, questions: int, unreadable: int) -> None:
        """Raises `NothingLearned` where pictures could not be read and nothing else was learned from."""
        if unreadable and not questions:
            raise NothingLearned(
                f"data: nothing was learned, for none of {unreadable} pictures could be read: mend the corpus or its "
                "paths; the warnings above name the rows"
            )

    def totals(self) -> tuple[int, int, int]:
        """Conversations, questions and unreadable pictures of this training session, over all processes."""
        return tuple(self.accelerator.reduce(self._counts, reduction="sum").tolist())


def score_labelled_positions(model: PreTrainedModel) -> None:
    """On a CPU, let TRL's fused head project only the positions that have a label.

    TRL does so where it has Triton and otherwise scores every position, image tokens included: 29 % of a training step
    of the quickstart's model. Same loss, token accuracy and entropy.
    """
    fused_forward = model.forward
    text_config = model.config.get_text_config()
    rescaling = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
    plain_head = all(getattr(text_config, name, None) in (None, 1.0) for name in rescaling)
    plain_head = plain_head and not getattr(text_config, "output_router_logits", False)

    @functools.wraps(type(model).forward)
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head or not plain_head or labels is None or labels.device.type != "cpu":
            return fused_forward(*args, fused_lm_head=fused_lm_head, labels=labels, **kwargs)
        items = kwargs.pop("num_items_in_batch", None)
        hidden = without_head(self)(*args, **{**kwargs, "use_cache": False}).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        mask = targets != -100
        log_probs = self.get_output_embeddings()(hidden[mask]).float().log_softmax(-1)
        scored = log_probs.gather(-1, targets[mask][:, None])[:, 0]
        with torch.no_grad():
            entropy = -(log_probs.exp() * log_probs).sum(-1)
            is_top1 = log_probs.argmax(-1) == targets[mask]

        def spread(values: torch.Tensor) -> torch.Tensor:
            return values.new_zeros(mask.shape).masked_scatter(mask, values)

        return FusedCausalLMOutput(
            loss=-scored.sum() / (mask.sum().clamp(min=1) if items is None else items),
            log_probs=spread(scored),
            entropy=spread(entropy),
            is_top1=spread(is_top1),
            label_mask=mask,
        )

    model.forward = types.MethodType(forward, model)


class MarkComplete(TrainerCallback):
    """Puts a marker into a checkpoint once every process has written its part: only those are gone on from."""

    def __init__(self, accelerator: Any):
        self.accelerator = accelerator

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()
