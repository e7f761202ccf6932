"""Makes `from facemllm_onnx import FaceMLLMForONNX` give the class.

The folder `onnx/` may have no `__init__.py` (it would hide the ONNX package), so the import finds this module; it puts
the class in its own place.
"""

import sys

from facemllm_onnx.runtime.model import FaceMLLMForONNX

sys.modules[__name__] = FaceMLLMForONNX
