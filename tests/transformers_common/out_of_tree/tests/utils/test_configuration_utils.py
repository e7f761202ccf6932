"""Stub: the source distribution leaves this file out."""

config_common_kwargs = {"return_dict": False, "output_hidden_states": True, "output_attentions": True}
