"""`transformers serve` for a Face-MLLM's folder: `python serve_face_mllm.py serve FOLDER --trust-remote-code ...`

`transformers serve` takes a model's class from transformers itself unless the model's type is in its table of
multimodal models (5.23, `cli/serving/model_manager.py`); from that table it also tells that a model takes pictures.
"""

from transformers.cli.transformers import main
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

if __name__ == "__main__":
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES["facemllm"] = "FaceMLLMForConditionalGeneration"
    main()
