"""A model folder answers on a transformers whose announced removals have happened. Run as a script:

python after_removals.py FOLDER PHOTO 0|1     (1: they have happened)
"""

import json
import sys


def remove_what_is_announced() -> None:
    """Old names of arguments and of outputs' fields are no longer translated."""
    import transformers.utils.deprecation as deprecation

    deprecation.deprecate_kwarg = lambda *args, **kwargs: lambda function: function
    from transformers.utils import generic

    if "past_key_values" in vars(generic.ModelOutput):  # 5.24 translates it; before, it was the name
        del generic.ModelOutput.past_key_values
        generic._rename_kwargs_for_bc = lambda kwargs: None
        generic.ModelOutput._replace_old_cache_name = lambda self, key: key


def main(folder: str, photo: str, removed: str) -> None:
    if removed == "1":
        remove_what_is_announced()
    import torch

    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor
    from modeling_facemllm.scoring_facemllm import ClosedQuestion, score_each_alone

    model = FaceMLLMForConditionalGeneration.from_pretrained(folder)
    processor = FaceMLLMProcessor.from_pretrained(folder)
    content = [{"type": "image", "path": photo}, {"type": "text", "text": "Does this person smile?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
    )
    with torch.no_grad():
        tokens = [
            model.generate(**inputs, max_new_tokens=12, **how)[0, inputs["input_ids"].shape[1] :].tolist()
            for how in ({"do_sample": False}, {"num_beams": 3})
        ]
    questions = [ClosedQuestion("Hat?", ("none", "no hat", "a cap")), ClosedQuestion("Old?", ("yes", "no"))]
    report = {
        "tokens": tokens,
        "packed": model.score_options(processor, [photo], questions)[0],
        "alone": score_each_alone(model, processor, [photo], questions)[0],
    }
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
