"""Kinds of result objects: what the pipeline can make and a destination can take."""

KINDS = ("seg", "sr", "sc", "pdf", "labelmap", "probability")
"""Every kind of result object there is; a destination chooses among them."""
USUAL = ("seg", "sr", "sc")
"""The kinds that are always made."""
