"""The values of a frame's pixels, wherever in their cells the header says that they lie."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from scarnode.dicom.elements import integer


def stored_values(dataset: Dataset, index: int) -> np.ndarray:
    """Decode one frame and take its values out of their cells.

    A value has BitsStored bits, the highest of which is HighBit (PS3.5 of 2011, section 8.1.1; today's edition allows
    BitsStored - 1 only). What lies beside them in the cell, an overlay for instance, is dropped.

    Parameters
    ----------
    dataset : pydicom.Dataset
        With its pixel data.
    index : int
        Of the frame, from 0.

    Returns
    -------
    numpy.ndarray
        Integer, shape (rows, columns) for a grey image; before rescale.
    """
    allocated, stored, high = (integer(dataset, tag) or 0 for tag in (0x00280100, 0x00280101, 0x00280102))
    shift = high + 1 - stored
    if shift <= 0 or stored <= 0 or high >= allocated:
        return pixel_array(dataset, index=index, raw=True)
    cells = pixel_array(dataset, index=index, raw=True, correct_unused_bits=False)
    unsigned = cells.view(cells.dtype.str.replace("i", "u")).astype(np.int64)
    # A JPEG stream may hold the values themselves: then none needs more bits than are stored.
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated and not (unsigned >> stored).any():
        shift = 0
    values = (unsigned >> shift) & ((1 << stored) - 1)
    if integer(dataset, 0x00280103) == 1:
        sign = 1 << (stored - 1)
        values = (values ^ sign) - sign
    return values
