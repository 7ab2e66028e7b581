"""Kinds of result objects: what the pipeline can make and a destination can take."""

KINDS = ("seg", "sr", "sc", "pdf", "labelmap", "probability")
"""Every kind of result object there is; a destination chooses among them."""
USUAL = ("seg", "sr", "sc")
"""The kinds that are always made."""
SOP_CLASSES = {
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",
    "sr": "1.2.840.10008.5.1.4.1.1.88.34",
    "sc": "1.2.840.10008.5.1.4.1.1.7",
    "pdf": "1.2.840.10008.5.1.4.1.1.104.1",
    "labelmap": "1.2.840.10008.5.1.4.1.1.66.7",
    "probability": "1.2.840.10008.5.1.4.1.1.66.4",
}
"""SOP class of each kind of result object."""
