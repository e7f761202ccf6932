"""Configuration of Face-MLLM: a vision tower, a projector and a causal language model."""

import copy
import math

from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .errors_facemllm import ArgumentError
from .versions_facemllm import CACHE_NAMES, TESTED, adapt_rope, check_transformers

AUTO_MAP = {
    "AutoConfig": "configuration_facemllm.FaceMLLMConfig",
    "AutoModel": "modeling_facemllm.FaceMLLMForConditionalGeneration",
    "AutoModelForImageTextToText": "modeling_facemllm.FaceMLLMForConditionalGeneration",
    "AutoModelForMultimodalLM": "modeling_facemllm.FaceMLLMForConditionalGeneration",
    "AutoModelForCausalLM": "modeling_facemllm.FaceMLLMForConditionalGeneration",
}

PICTURE_KINDS = ("drawings", "photographs")
LEAST_MARGIN = -0.25  # half of a face's box
CUSTOM_PIPELINES = {
    "face-analysis": {"impl": "pipeline_facemllm.FaceAnalysisPipeline", "pt": ["AutoModelForImageTextToText"]}
}


class RegisteredPipelines(dict):
    """`custom_pipelines` where the classes of an installed package are registered, and win over a folder's code.

    `pipeline` reads from its keys which task a folder is for, and imports the folder's code for every task that is
    *in* it: the package's own are not, so that their registered classes are taken.
    """

    def __contains__(self, task) -> bool:
        return task not in CUSTOM_PIPELINES and super().__contains__(task)


TOWERS_WITHOUT_CLASS_TOKEN = {"siglip_vision_model", "siglip2_vision_model", "facemllm_vision"}


class FaceMLLMVisionConfig(PretrainedConfig):
    """The project's own small vision tower: strided convolutions, then transformer layers over the grid they leave.

    Args:
        image_size (`int`, *optional*, defaults to 64): side of the square input, in pixels.
        num_channels (`int`, *optional*, defaults to 3): channels of the input.
        stem_channels (`list[int]`, *optional*, defaults to `[32, 64, 96]`): width of each convolution block. Every
            block halves the side, so three of them turn 64 pixels into an 8×8 grid.
        inverted_residuals (`list[list[int]]`, *optional*):
            `[kernel, stride, expansion, channels, repeats]` of each row of EfficientNet-Lite's blocks, which then
            follow the first and only of `stem_channels` in place of this project's own ones.
        hidden_size (`int`, *optional*, defaults to 96): width of the transformer layers and of the features.
        intermediate_size (`int`, *optional*, defaults to 192): width of their feed-forward part.
        num_hidden_layers (`int`, *optional*, defaults to 2): number of transformer layers.
        num_attention_heads (`int`, *optional*, defaults to 4): number of attention heads.
        layer_norm_eps (`float`, *optional*, defaults to 1e-6): epsilon of the normalisations.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation that linear layers are initialised with.

    Raises:
        ArgumentError: for a size that is no whole number of at least 1, another setting that is no number, and when
            the blocks cannot halve the image, or the heads do not divide the width.
    """

    model_type = "facemllm_vision"
    base_config_key = "vision_config"

    def __init__(
        self,
        image_size=64,
        num_channels=3,
        stem_channels=(32, 64, 96),
        inverted_residuals=None,
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        layer_norm_eps=1e-6,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {
            "image_size": image_size,
            "num_channels": num_channels,
            "hidden_size": hidden_size,
            "intermediate_size": intermediate_size,
            "num_attention_heads": num_attention_heads,
        }
        for name, size in sizes.items():
            if not _is_size(size):
                raise ArgumentError(name, size, "give a whole number, 1 or more")
        if num_hidden_layers != 0 and not _is_size(num_hidden_layers):
            raise ArgumentError("num_hidden_layers", num_hidden_layers, "give a whole number, 0 or more")
        for name, number in {"layer_norm_eps": layer_norm_eps, "initializer_range": initializer_range}.items():
            if not isinstance(number, (int, float)) or not 0 <= number < math.inf:
                raise ArgumentError(name, number, "give a number, 0 or more, such as 0.01")
        if not isinstance(stem_channels, (list, tuple)) or not stem_channels or not all(map(_is_size, stem_channels)):
            raise ArgumentError("stem_channels", stem_channels, "give a list of whole numbers, such as [32, 64, 96]")
        for row in inverted_residuals or ():
            if not isinstance(row, (list, tuple)) or len(row) != 5 or not all(map(_is_size, row)) or row[1] > 2:
                remedy = "give rows of [kernel, stride (1 or 2), expansion, channels, repeats]"
                raise ArgumentError("inverted_residuals", inverted_residuals, remedy)
        self.image_size = image_size
        self.num_channels = num_channels
        self.stem_channels = list(stem_channels)
        self.inverted_residuals = None if inverted_residuals is None else [list(row) for row in inverted_residuals]
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        if inverted_residuals is not None and len(self.stem_channels) != 1:
            raise ArgumentError("stem_channels", self.stem_channels, "before inverted_residuals, give one width")
        if image_size % self.patch_size:
            remedy = f"the blocks (stem_channels={self.stem_channels}) halve it: take a multiple of {self.patch_size}"
            raise ArgumentError("image_size", image_size, remedy)
        if hidden_size % num_attention_heads:
            raise ArgumentError(
                "hidden_size", hidden_size, f"take a multiple of num_attention_heads={num_attention_heads}"
            )

    @property
    def patch_size(self) -> int:
        """Pixels of the image, per side, that one cell of the grid stands for."""
        return 2 ** len(self.stem_channels) * math.prod(stride for _, stride, *_ in self.inverted_residuals or ())


class FaceMLLMConfig(PretrainedConfig):
    """What makes a Face-MLLM: any vision tower and any causal language model, joined by a two-layer MLP.

    Args:
        vision_config (`PretrainedConfig` or `dict`, *optional*):
            Vision tower (SigLIP, SigLIP2, CLIP, DINOv2, DINOv3, ViT, …, or `facemllm_vision`). A full CLIP or SigLIP
            configuration gives its vision part. Defaults to the tiny tower.
        text_config (`PretrainedConfig` or `dict`, *optional*):
            Causal language model (Qwen2, Qwen3, Llama, SmolLM, Gemma, …). Defaults to `qwen3`.
        image_token_id (`int`, *optional*):
            Id of the placeholder that image features take the place of; the vocabulary's last id when absent.
        projector_hidden_act (`str`, *optional*, defaults to `"gelu"`): activation between the projector's two layers.
        vision_feature_layer (`int` or `list[int]`, *optional*, defaults to -1):
            -1 is the tower's output after its final normalisation; another number indexes its hidden states (0 is
            the embeddings' output); a list concatenates several.
        vision_feature_select_strategy (`"default"` or `"full"`, *optional*, defaults to `"default"`):
            `"default"` keeps the patches only, `"full"` also the class and register tokens.
        pixel_shuffle_factor (`int`, *optional*, defaults to 1):
            1, 2 or 4: squares of that side are merged into one token, which leaves 1, 1/4 or 1/16 of the tokens.
        image_size (`int`, *optional*):
            Side of the square images in pixels, where it is not the tower's own: the tower then interpolates its
            position encodings (DINOv2 was trained at 518 pixels, 37×37 patches, and is mostly run at 224).
        face_tasks (`dict[str, dict]`, *optional*): what the model was trained to be asked about a face, by name:
            `question`, `options`, and perhaps `kind`, `ranges`, `on_request`, as in `face_tasks_facemllm.FaceTask`.
            `pipeline("face-analysis")` asks these instead of the project's own table.
        face_margin (`float`, *optional*): what `pipeline("face-analysis")` shows around a face unless it is told
            otherwise: share of its box's longer side, on each side; below 0 a part of the box, as in close datasets.
        picture_kind (`"drawings"` or `"photographs"`, *optional*): the only pictures that the model knows. The command
            line warns of others; absent, it never warns.

    Raises:
        ValueError: when the parts do not fit together; the message says what would.
        ImportError: on a release of transformers that is known to answer wrongly.

    `transformers_tested` in `config.json` is the range of releases that the code beside it was tested on.
    """

    model_type = "facemllm"
    sub_configs = {"vision_config": AutoConfig, "text_config": AutoConfig}
    keys_to_ignore_at_inference = [*CACHE_NAMES, "image_hidden_states", "image_outputs"]
    pipelines_type = dict

    def __init__(
        self,
        vision_config=None,
        text_config=None,
        image_token_id=None,
        projector_hidden_act="gelu",
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        pixel_shuffle_factor=1,
        image_size=None,
        face_tasks=None,
        face_margin=None,
        picture_kind=None,
        **kwargs,
    ):
        vision_config = _as_config(vision_config, default="facemllm_vision")
        self.vision_config = getattr(vision_config, "vision_config", vision_config)
        check_transformers(self.vision_config.model_type)
        self.text_config = _as_config(text_config, default="qwen3")
        self.image_token_id = self.text_config.vocab_size - 1 if image_token_id is None else image_token_id
        self.projector_hidden_act = projector_hidden_act
        self.vision_feature_layer = vision_feature_layer
        self.vision_feature_select_strategy = vision_feature_select_strategy
        self.pixel_shuffle_factor = pixel_shuffle_factor
        self.image_size = self.tower_image_size if image_size is None else image_size
        self.face_tasks = face_tasks
        self.face_margin = face_margin
        if picture_kind not in (None, *PICTURE_KINDS):
            raise ArgumentError("picture_kind", picture_kind, f"give {' or '.join(PICTURE_KINDS)}, or leave it out")
        self.picture_kind = picture_kind
        # Plain names, also after loading from the Hub: a fine-tuned copy then refers to its own files.
        kwargs["auto_map"] = dict(AUTO_MAP)
        pipelines = {**(kwargs.get("custom_pipelines") or {}), **copy.deepcopy(CUSTOM_PIPELINES)}
        kwargs["custom_pipelines"] = self.pipelines_type(pipelines)
        kwargs["transformers_tested"] = TESTED
        kwargs["tie_word_embeddings"] = bool(getattr(self.text_config, "tie_word_embeddings", False))
        super().__init__(**kwargs)
        self._check_parts()

    @property
    def tower_image_size(self) -> int:
        """Side of the square images that the vision tower was made for, in pixels."""
        size = getattr(self.vision_config, "image_size", None)
        if size is None:  # SigLIP2's NaFlex towers count patches instead
            return math.isqrt(self.vision_config.num_patches) * self.vision_config.patch_size
        return _side(size)

    @property
    def vision_grid_size(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // _side(self.vision_config.patch_size)

    @property
    def feature_layers(self) -> list[int]:
        """`vision_feature_layer` as a list."""
        layers = self.vision_feature_layer
        return list(layers) if isinstance(layers, (list, tuple)) else [layers]

    @property
    def num_prefix_tokens(self) -> int:
        """Class and register tokens that the tower puts before its patches."""
        if self.vision_config.model_type in TOWERS_WITHOUT_CLASS_TOKEN:
            return 0
        return 1 + (getattr(self.vision_config, "num_register_tokens", 0) or 0)

    @property
    def num_image_tokens(self) -> int:
        """Tokens that one image takes in the language model's input."""
        tokens = (self.vision_grid_size // self.pixel_shuffle_factor) ** 2
        return tokens + (self.num_prefix_tokens if self.vision_feature_select_strategy == "full" else 0)

    def to_dict(self) -> dict:
        """Plain data: `pipeline` puts classes in the place of their names into `custom_pipelines`."""
        settings = super().to_dict()
        settings["custom_pipelines"] = {
            task: {
                key: [getattr(kind, "__name__", kind) for kind in value] if isinstance(value, (list, tuple)) else value
                for key, value in pipeline.items()
            }
            for task, pipeline in settings["custom_pipelines"].items()
        }
        return settings

    def _check_parts(self):
        margin = self.face_margin
        if margin is not None and (
            isinstance(margin, bool) or not isinstance(margin, int | float) or not LEAST_MARGIN <= margin <= 10
        ):
            raise ArgumentError(
                "face_margin", margin, f"give a share of a box's longer side, from {LEAST_MARGIN} to 10"
            )
        layers = self.vision_config.num_hidden_layers
        for layer in self.feature_layers:
            if not -layers - 1 <= layer <= layers:
                raise ValueError(
                    f"vision_feature_layer={layer} does not exist: the {self.vision_config.model_type} tower has "
                    f"{layers} layers, so {-layers - 1} to {layers} are possible"
                )
        if self.vision_feature_select_strategy not in ("default", "full"):
            raise ValueError(
                f"vision_feature_select_strategy={self.vision_feature_select_strategy!r} is unknown: take 'default' "
                "(patches only) or 'full' (class and register tokens too)"
            )
        own_size, patch = self.tower_image_size, _side(self.vision_config.patch_size)
        if self.image_size != own_size and self.vision_config.model_type == FaceMLLMVisionConfig.model_type:
            remedy = f"this tower takes {own_size}-pixel images only: leave image_size out, or take another tower"
            raise ArgumentError("image_size", self.image_size, remedy)
        if self.image_size < patch:
            raise ValueError(f"image_size={self.image_size} is less than one patch: take a multiple of {patch}")
        factor, grid = self.pixel_shuffle_factor, self.vision_grid_size
        if factor not in (1, 2, 4):
            raise ValueError(f"pixel_shuffle_factor={factor} is unknown: take 1, 2 or 4")
        if grid % factor:
            possible = [f for f in (1, 2, 4) if grid % f == 0]
            raise ValueError(
                f"pixel_shuffle_factor={factor} does not divide the {grid}×{grid} grid of a {self.image_size}-pixel "
                f"image: take one of {possible}"
            )
        if factor > 1 and self.vision_feature_select_strategy == "full" and self.num_prefix_tokens:
            raise ValueError(
                f"pixel_shuffle_factor={factor} merges patches only: take vision_feature_select_strategy='default', "
                f"which drops the {self.num_prefix_tokens} class and register tokens"
            )
        if not 0 <= self.image_token_id < self.text_config.vocab_size:
            raise ValueError(
                f"image_token_id={self.image_token_id} is outside the vocabulary of {self.text_config.vocab_size}: "
                "add the image token to the tokenizer and resize the embeddings first (`from_towers` does both)"
            )


def _as_config(config, default: str) -> PretrainedConfig:
    if config is not None and not isinstance(config, dict):
        return config
    config = dict(config or {})
    model_type = config.pop("model_type", default)
    if model_type == FaceMLLMVisionConfig.model_type:
        return FaceMLLMVisionConfig(**config)
    adapt_rope(config)
    if model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"model_type={model_type!r} is unknown to the installed transformers: upgrade it or correct it"
        )
    return CONFIG_MAPPING[model_type](**config)


def _is_size(value) -> bool:
    return isinstance(value, int) and value > 0


def _side(size) -> int:
    if isinstance(size, (list, tuple)):
        if len(set(size)) > 1:
            raise ValueError(f"the vision tower takes images of {size}: take one of square images")
        return size[0]
    return size


FaceMLLMVisionConfig.register_for_auto_class()
FaceMLLMConfig.register_for_auto_class()
