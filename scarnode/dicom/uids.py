"""Deterministic UIDs: the same input, model and settings always name the same result objects."""

import hashlib

from pydicom.uid import UID

from scarnode import __version__


def derived_uid(*parts: str) -> UID:
    """Return the UID that belongs to `parts`, and always the same one.

    Parameters
    ----------
    *parts : str
        What the object is derived from, e.g. the job key and the kind of object.

    Returns
    -------
    pydicom.uid.UID
        A UID under the root 2.25 (UUID-derived, PS3.5 B.2): the first 128 bits of the
        SHA-256 of the parts, marked as a version 8 UUID (RFC 9562).
    """
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).digest()[:16]
    number = int.from_bytes(digest, "big")
    number = (number & ~(0xF << 76)) | (0x8 << 76)
    number = (number & ~(0x3 << 62)) | (0x2 << 62)
    return UID(f"2.25.{number}")


IMPLEMENTATION_CLASS_UID = derived_uid("scarnode", "implementation class")
"""Who wrote a file (PS3.10 7.1): the same in received and in made files."""

IMPLEMENTATION_VERSION_NAME = f"SCARNODE_{__version__}"[:16]
