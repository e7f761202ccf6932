"""Closed questions about faces as one ONNX graph: pictures and a row of tokens in, log-likelihoods of answers out.

There is no cache and no decoding loop: the row holds the prompts' common beginning and the tree of all questions and
answers behind it (`modeling_facemllm.token_tree_facemllm`). The head runs only where an answer's token is predicted.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from modeling_facemllm.packed_scoring_facemllm import attention_windows


class Scoring(nn.Module):
    """The inputs of `graphs.SCORING` to its `log_likelihoods`; pictures in and likelihoods out are float32 in every
    precision.

    Raises:
        CannotPack: when the language model has layers that are no attention.
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model, self.config = model, model.config
        self.windows = attention_windows(model.get_decoder().config)

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        visible: torch.Tensor,
        predicting: torch.Tensor,
        answer_rows: torch.Tensor,
        answer_ids: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        hidden = self.model.get_decoder()(
            inputs_embeds=self._embed(pixel_values, input_ids),
            attention_mask=self._masks(visible, position_ids),
            position_ids=position_ids,
            use_cache=False,
        ).last_hidden_state
        logits = self.model.compute_logits(hidden.flatten(0, 1)[predicting]).float()  # (predictions, vocab)
        log_probabilities = logits.log_softmax(-1)[answer_rows, answer_ids.clamp(min=0)]
        return {"log_likelihoods": torch.where(answer_ids >= 0, log_probabilities, 0.0).sum(-1)}

    def _embed(self, pixel_values: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Embeddings `(batch, length, hidden)`, with the images' features in order at the image tokens."""
        words = self.model.get_input_embeddings()(input_ids)
        features = self.model.get_image_features(pixel_values, return_dict=True).pooler_output.flatten(0, 1)
        is_image = input_ids == self.config.image_token_id
        place = (is_image.flatten().long().cumsum(0) - 1).clamp(min=0)
        return torch.where(is_image.unsqueeze(-1), features[place].to(words.dtype).view_as(words), words)

    def _masks(self, visible: torch.Tensor, position_ids: torch.Tensor):
        """What attention adds, `(batch, 1, length, length)`: one for all layers, or one for each kind of them."""
        distance = position_ids.unsqueeze(-1) - position_ids.unsqueeze(-2)
        masks, kind = {}, self.model.get_decoder().dtype
        for window in set(self.windows.values()):
            seen = (visible if window is None else visible & (distance < window)).unsqueeze(1)
            zeros = torch.zeros(seen.shape, dtype=kind, device=seen.device)
            masks[window] = zeros.masked_fill(~seen, torch.finfo(kind).min)
        if len(masks) == 1:
            return next(iter(masks.values()))
        return {kind: masks[window] for kind, window in self.windows.items()}


def scoring_inputs(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Inputs to trace `Scoring` with: two rows of a picture each, three answers. No axis has another's size."""
    config = model.config
    batch, length = 2, config.num_image_tokens + 5
    side, device = config.image_size, model.device
    pixel_values = torch.randn(batch, config.vision_config.num_channels, side, side, device=device)
    ids = torch.ones(batch, length, dtype=torch.long, device=device)
    ids[:, 1 : config.num_image_tokens + 1] = config.image_token_id
    return {
        "pixel_values": pixel_values,
        "input_ids": ids,
        "position_ids": torch.arange(length, device=device).repeat(batch, 1),
        "visible": torch.ones(batch, length, length, dtype=torch.bool, device=device).tril(),
        "predicting": torch.tensor([length - 3, length - 2, length - 1, length], device=device),
        "answer_rows": torch.tensor([[0, 1], [0, 2], [3, 0]], device=device),
        "answer_ids": torch.tensor([[1, 2], [2, 1], [1, -1]], device=device),
    }
