"""What a prompt is written in: the tokens of images and turns, and the chat template."""

from transformers import PreTrainedTokenizerBase
from transformers.tokenization_utils_base import AddedToken

IMAGE_TOKEN = "<image>"
PAD_TOKEN = "<|pad|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"

# ChatML. The end of a turn lies inside the generation mark: the model has to learn to stop.
CHAT_TEMPLATE = """\
{%- macro render(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- else -%}
        {%- for part in content -%}
            {%- if part['type'] == 'image' -%}
                {{- '<image>\\n' -}}
            {%- elif part['type'] == 'text' -%}
                {{- part['text'] -}}
            {%- else -%}
                {{- raise_exception('content of type ' + part['type'] + ' is unknown: use image or text') -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}
            {{- render(message['content']) + '<|im_end|>' -}}
        {%- endgeneration -%}
    {%- else -%}
        {{- render(message['content']) + '<|im_end|>' -}}
    {%- endif -%}
    {{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, chat_template: str = CHAT_TEMPLATE) -> None:
    """Give a language model's tokenizer, in place, the tokens and the template that a face MLLM's prompts need.

    It gains `<image>`, `<|im_start|>` and `<|im_end|>` where it lacks them, ends a turn with `<|im_end|>` and pads
    on the left. Without a pad token it pads with what was its end of sequence, or with a new `<|pad|>` where there is
    none or that is `<|im_end|>` itself: padding and the end of a turn stay apart.
    """
    known = tokenizer.get_vocab()
    missing = [token for token in (IMAGE_TOKEN, TURN_START, TURN_END) if token not in known]
    if tokenizer.pad_token is None:
        ends_turns = tokenizer.eos_token in (None, TURN_END)
        tokenizer.pad_token = PAD_TOKEN if ends_turns else tokenizer.eos_token
        missing += [PAD_TOKEN] if ends_turns and PAD_TOKEN not in known else []
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in missing], special_tokens=True)
    tokenizer.eos_token = TURN_END
    tokenizer.padding_side = "left"
    tokenizer.init_kwargs["padding_side"] = "left"  # otherwise lost on saving
    tokenizer.chat_template = chat_template
