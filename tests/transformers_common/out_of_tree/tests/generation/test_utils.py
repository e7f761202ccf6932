"""Stub: the source distribution leaves this file out; a source tree brings the real one."""


class GenerationTesterMixin:
    pass
