"""Face-MLLM: a vision tower and a causal language model joined by an MLP projector (arXiv 2410.20717)."""

import copy
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.utils import can_return_tuple, logging

from .closed_questions_facemllm import ClosedQuestion
from .composition_facemllm import compose
from .configuration_facemllm import FaceMLLMConfig, FaceMLLMVisionConfig
from .generation_facemllm import FaceMLLMGenerationMixin
from .packed_scoring_facemllm import PackedScorer  # noqa: F401  transformers 4.57 ships only what is imported here
from .projector_facemllm import FaceMLLMProjector
from .scoring_facemllm import score_options
from .versions_facemllm import CACHE_NAME, CACHE_NAMES, ModelBase, given_cache, torch_compilable_check
from .vision_facemllm import FaceMLLMVisionModel

if TYPE_CHECKING:  # not needed here: `save_pretrained` copies to a model's folder the files that are named
    from .answering_facemllm import answer_about  # noqa: F401
    from .chat_messages_facemllm import fill_images  # noqa: F401
    from .errors_facemllm import ArgumentError  # noqa: F401
    from .face_detection_facemllm import FaceDetector  # noqa: F401
    from .face_finding_facemllm import FaceChoice  # noqa: F401
    from .face_task_table_facemllm import DEFAULT_FACE_TASKS  # noqa: F401
    from .face_tasks_facemllm import FaceTask  # noqa: F401
    from .finite_numbers_facemllm import FiniteLogits  # noqa: F401
    from .image_loading_facemllm import load_image  # noqa: F401
    from .option_scores_facemllm import Scores  # noqa: F401
    from .picture_stream_facemllm import each_image  # noqa: F401
    from .pipeline_facemllm import FaceAnalysisPipeline  # noqa: F401
    from .prompt_facemllm import IMAGE_TOKEN  # noqa: F401
    from .token_tree_facemllm import TokenTree  # noqa: F401
    from .url_fetching_facemllm import fetch  # noqa: F401
    from .user_texts_facemllm import as_text  # noqa: F401

logger = logging.get_logger(__name__)

BLOCK = 64
"""Neighbouring weights that share a scale in 4 bits; kernels on CPUs want rows of whole blocks."""


@dataclass
class FaceMLLMModelOutputWithPast(BaseModelOutputWithPast):
    """Output of [`FaceMLLMModel`]; `image_hidden_states` is `(num_images, num_image_tokens, hidden_size)`.

    `image_outputs` is what `get_image_features` gave, with the vision tower's attentions where they were asked for.
    """

    image_hidden_states: torch.FloatTensor | None = None
    image_outputs: BaseModelOutputWithPooling | None = None


@dataclass
class FaceMLLMCausalLMOutputWithPast(CausalLMOutputWithPast):
    """Output of [`FaceMLLMForConditionalGeneration`]; `logits` is `(batch, sequence, vocab_size)`."""

    image_hidden_states: torch.FloatTensor | None = None
    image_outputs: BaseModelOutputWithPooling | None = None


class FaceMLLMPreTrainedModel(ModelBase):
    config_class = FaceMLLMConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = list(CACHE_NAMES)
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, config=None, quantization_config=None, **kwargs):
        if getattr(quantization_config, "load_in_4bit", False):
            if not isinstance(config, PretrainedConfig):
                places = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
                options = {name: kwargs[name] for name in places if name in kwargs}
                config = cls.config_class.from_pretrained(config or pretrained_model_name_or_path, **options)
            quantization_config = without_broken_rows(cls, config, quantization_config)
        if quantization_config is not None:
            kwargs["quantization_config"] = quantization_config
        return super().from_pretrained(pretrained_model_name_or_path, *args, config=config, **kwargs)


def without_broken_rows(model_class: type[PreTrainedModel], config: PretrainedConfig, quantization: Any) -> Any:
    """`quantization` with those linear layers among `llm_int8_skip_modules` whose rows are no whole blocks.

    Args:
        quantization (`BitsAndBytesConfig`): as the caller gave it; it stays as it is.
    """
    with torch.device("meta"):
        layers = model_class(config).named_modules()
    odd = {
        name: layer.in_features for name, layer in layers if isinstance(layer, nn.Linear) and layer.in_features % BLOCK
    }
    if not odd:
        return quantization
    widths = ", ".join(str(width) for width in sorted(set(odd.values())))
    logger.warning_once(
        f"4 bits take rows of whole blocks of {BLOCK} weights: {len(odd)} layers of width {widths} stay unquantized"
    )
    quantization = copy.deepcopy(quantization)
    quantization.llm_int8_skip_modules = [*(quantization.llm_int8_skip_modules or ["lm_head"]), *odd]
    return quantization


class FaceMLLMModel(FaceMLLMPreTrainedModel):
    """Vision tower, projector and language model, without the language-modelling head."""

    def __init__(self, config: FaceMLLMConfig):
        super().__init__(config)
        if config.vision_config.model_type == FaceMLLMVisionConfig.model_type:
            self.vision_tower = FaceMLLMVisionModel(config.vision_config)
        else:
            self.vision_tower = AutoModel.from_config(config.vision_config)
        self.projector = FaceMLLMProjector(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.language_model.set_input_embeddings(value)

    def get_decoder(self) -> PreTrainedModel:
        return self.language_model

    def set_decoder(self, decoder: PreTrainedModel):
        self.language_model = decoder

    @can_return_tuple
    def get_image_features(self, pixel_values: torch.FloatTensor, **kwargs) -> BaseModelOutputWithPooling:
        """Encode images and project them into the language model's space.

        Args:
            pixel_values (`torch.FloatTensor` of shape `(num_images, channels, height, width)`):
                The images of all prompts, one after the other.

        Returns:
            `pooler_output` of shape `(num_images, num_image_tokens, hidden_size)` holds the projected features; the
            other fields are the vision tower's.

        Raises:
            ValueError: when the tower does not give one feature per patch of the configured image.
        """
        layers = self.config.feature_layers
        if layers != [-1]:
            kwargs["output_hidden_states"] = True
        kwargs["return_dict"] = True
        outputs = self.vision_tower(**self._vision_inputs(pixel_values), **kwargs)
        features = torch.cat(
            [outputs.last_hidden_state if layer == -1 else outputs.hidden_states[layer] for layer in layers], dim=-1
        )
        prefix = features.shape[1] - self.config.vision_grid_size**2
        if prefix < 0:
            raise ValueError(
                f"the vision tower gave {features.shape[1]} features, but a {self.config.image_size}-pixel image has "
                f"{self.config.vision_grid_size**2} patches: resize the images to {self.config.image_size} pixels"
            )
        if self.config.vision_feature_select_strategy == "default":
            features = features[:, prefix:]
        return BaseModelOutputWithPooling(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=self.projector(features),
            hidden_states=outputs.hidden_states,
            attentions=getattr(outputs, "attentions", None),
        )

    def _vision_inputs(self, pixel_values: torch.FloatTensor) -> dict[str, torch.Tensor]:
        pixel_values = pixel_values.to(self.vision_tower.dtype)
        if self.config.vision_config.model_type != "siglip2_vision_model":
            inputs = {"pixel_values": pixel_values}
            # DINO's towers interpolate by themselves and do not know the word.
            if self.config.image_size != self.config.tower_image_size and (
                "interpolate_pos_encoding" in inspect.signature(self.vision_tower.forward).parameters
            ):
                inputs["interpolate_pos_encoding"] = True
            return inputs
        # SigLIP2's NaFlex towers take rows of flattened patches, channels last, and the shape of their grid.
        images, channels, height, width = pixel_values.shape
        size = self.config.vision_config.patch_size
        rows, columns = height // size, width // size
        patches = pixel_values.view(images, channels, rows, size, columns, size).permute(0, 2, 4, 3, 5, 1)
        shape = torch.tensor([[rows, columns]], device=pixel_values.device).expand(images, 2)
        return {
            "pixel_values": patches.reshape(images, rows * columns, size * size * channels),
            "pixel_attention_mask": torch.ones(images, rows * columns, dtype=torch.long, device=pixel_values.device),
            "spatial_shapes": shape,
        }

    def get_placeholder_mask(
        self, input_ids: torch.LongTensor | None, inputs_embeds: torch.FloatTensor, image_features: torch.FloatTensor
    ) -> torch.BoolTensor:
        """Where the image features go: `(batch, sequence, 1)`, true at the image tokens.

        Raises:
            ValueError: "Image features and image tokens do not match …", when their numbers differ.
        """
        if input_ids is None:
            image_token = torch.full((), self.config.image_token_id, dtype=torch.long, device=inputs_embeds.device)
            mask = (inputs_embeds == self.get_input_embeddings()(image_token)).all(-1)
        else:
            mask = input_ids == self.config.image_token_id
        num_tokens = mask.sum()
        num_features = image_features.numel() // image_features.shape[-1]
        torch_compilable_check(
            num_tokens * inputs_embeds.shape[-1] == image_features.numel(),
            f"Image features and image tokens do not match, tokens: {num_tokens}, features: {num_features}",
        )
        return mask.unsqueeze(-1).to(inputs_embeds.device)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        cache: Cache | None = None,
        **kwargs,
    ) -> FaceMLLMModelOutputWithPast:
        """Put the image features at the image tokens and run the language model.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch, sequence)`):
                Tokens, with `num_image_tokens` image tokens per image.
            pixel_values (`torch.FloatTensor` of shape `(num_images, channels, height, width)`):
                The images of the whole batch in the order of their image tokens; absent for text-only batches.
            attention_mask (`torch.Tensor` of shape `(batch, sequence)`): 0 at padding.
            inputs_embeds (`torch.FloatTensor` of shape `(batch, sequence, hidden_size)`): instead of `input_ids`.
            mm_encoder_outputs (`dict`): `{"image": get_image_features(…)}`, instead of `pixel_values`.
            cache (`Cache`): keys and values of what precedes, up to transformers 5.23 `past_key_values`; here
                both names are taken. The pictures are those of the tokens given, not those that it holds.

        Raises:
            ValueError: when not exactly one of `input_ids` and `inputs_embeds` is given, when both `pixel_values` and
                `mm_encoder_outputs` are, or when image tokens and features differ in number.
        """
        cache = given_cache(past_key_values, cache)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        image_outputs = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None and image_outputs is not None:
            raise ValueError("You cannot specify both pixel_values and mm_encoder_outputs at the same time")

        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        if pixel_values is not None:
            image_outputs = self.get_image_features(pixel_values, return_dict=True)
        image_features = None
        if image_outputs is not None:
            image_features = image_outputs.pooler_output
            if isinstance(image_features, (list, tuple)):  # as `generate` leaves them in chunks of the prompt
                image_features = torch.cat(list(image_features))
            image_features = image_features.to(inputs_embeds.device, inputs_embeds.dtype)
            mask = self.get_placeholder_mask(input_ids, inputs_embeds=inputs_embeds, image_features=image_features)
            inputs_embeds = inputs_embeds.masked_scatter(mask, image_features)

        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **{CACHE_NAME: cache},
            **kwargs,
        )
        return FaceMLLMModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            **{CACHE_NAME: getattr(outputs, CACHE_NAME)},
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=image_features,
            image_outputs=image_outputs,
        )


class FaceMLLMForConditionalGeneration(FaceMLLMPreTrainedModel, FaceMLLMGenerationMixin):
    """The whole model: answers questions about the faces in its prompt's images."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: FaceMLLMConfig):
        super().__init__(config)
        self.model = FaceMLLMModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self._tied_weights_keys = {"lm_head.weight": f"model.language_model.{self._embedding_name()}.weight"}
        self.post_init()

    def _embedding_name(self) -> str:
        embeddings = self.model.get_input_embeddings()
        return next(name for name, module in self.model.language_model.named_modules() if module is embeddings)

    @classmethod
    def from_towers(
        cls,
        vision: "str | PretrainedConfig | PreTrainedModel",
        text: "str | PretrainedConfig | PreTrainedModel",
        *,
        tokenizer=None,
        image_token_id: int | None = None,
        dtype: torch.dtype | str | None = None,
        **config_kwargs,
    ) -> "FaceMLLMForConditionalGeneration":
        """Compose a vision tower and a causal language model; only the projector between them is new.

        Args:
            vision: Hub id or folder (of the tower, or of a whole CLIP or SigLIP), a model, or a configuration (then
                the tower starts from random weights).
            text: the same for the causal language model.
            tokenizer: the one of `FaceMLLMProcessor.from_towers`, which holds the image token. When absent and `text`
                is an id or a folder, the tokenizer found there is prepared in the same way.
            image_token_id: id of the image token, when there is no tokenizer. Without either, one row is added to the
                vocabulary for it.
            dtype: what to load the weights as; by default as they were saved.
            **config_kwargs: the other fields of [`FaceMLLMConfig`], such as `pixel_shuffle_factor`.

        Raises:
            ValueError: when the language model is not a plain causal one, or the parts do not fit together.
        """
        return compose(cls, vision, text, tokenizer, image_token_id, dtype, **config_kwargs)

    def get_image_features(self, pixel_values: torch.FloatTensor, **kwargs) -> BaseModelOutputWithPooling:
        """See [`FaceMLLMModel.get_image_features`]."""
        return self.model.get_image_features(pixel_values, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        cache: Cache | None = None,
        **kwargs,
    ) -> FaceMLLMCausalLMOutputWithPast:
        """Predict the next token at every position; see [`FaceMLLMModel.forward`] for the inputs.

        Args:
            labels (`torch.LongTensor` of shape `(batch, sequence)`): next tokens, -100 where no loss is wanted.
            logits_to_keep (`int` or `torch.Tensor`): how many last positions (0: all), or which, get logits.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=given_cache(past_key_values, cache),
            inputs_embeds=inputs_embeds,
            mm_encoder_outputs=mm_encoder_outputs,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.compute_logits(outputs.last_hidden_state[:, kept, :])

        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return FaceMLLMCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            **{CACHE_NAME: getattr(outputs, CACHE_NAME)},
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
            image_outputs=outputs.image_outputs,
        )

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The next token's logits from the language model's output: `(…, hidden_size)` to `(…, vocab_size)`."""
        logits = self.lm_head(hidden_states)
        softcap = getattr(self.config.text_config, "final_logit_softcapping", None)
        return logits if softcap is None else torch.tanh(logits / softcap) * softcap

    def score_options(
        self, processor, images: list, questions: "list[ClosedQuestion] | list[list[ClosedQuestion]]", **kwargs
    ) -> list[list[list[float]]]:
        """How probable each option of each question is, for each face: see [`score_options`], which this calls."""
        return score_options(self, processor, images, questions, **kwargs)


FaceMLLMForConditionalGeneration.register_for_auto_class("AutoModel")
