"""Ask a vision-language model about faces, and keep what it said: every answer once, whatever happens.

Any server that speaks the OpenAI chat protocol will do. `annotate` asks and fills a work folder, `read_answers` reads
it, `estimate` says before what it would take:

    report = annotate(source, Annotator("http://localhost:8000", "Qwen/Qwen3-VL-8B-Instruct"), "OUT/.annotating",
                      check=check)
    for face in read_answers("OUT/.annotating").answers(): ...
"""

from .annotate import annotate
from .answers import read_answers
from .estimate import estimate
from .settings import Annotator

__all__ = ["Annotator", "annotate", "estimate", "read_answers"]
