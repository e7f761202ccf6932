"""Stub: the source distribution leaves this file out."""


class ExportTesterMixin:
    pass
