"""`optimum-cli` imports every file of the namespace `optimum.commands.register`: this one lets it export Face-MLLMs.

`pyproject.toml` puts it there. It loads nothing unless an export is about to begin.
"""

import sys

if sys.argv[1:3] == ["export", "onnx"] and not {"-h", "--help"} & set(sys.argv):
    import facemllm_onnx.export.optimum  # noqa: F401  registers the model's type with Optimum

REGISTER_COMMANDS = []
