"""How four vendors describe late enhancement: names, image types and private elements as met in the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VendorName = Literal["siemens", "ge", "philips", "canon"]


@dataclass(frozen=True)
class VendorProfile:
    """Header habits of one vendor.

    Attributes
    ----------
    manufacturer, model, software : str
    description, image_type : dict
        SeriesDescription, and ImageType, by component.
    cine_description : str
    protocol : str
        ProtocolName; GE's is the exam's template, not the series'.
    scanning_sequence : tuple of str
    scan_options : tuple of str
        Beside cardiac gating.
    states_inversion_time : bool
        Canon's headers say little about the inversion.
    series_per_slice : bool
        Each slice comes in a series of its own.
    one_series_for_both : bool
        Magnitude and phase-sensitive images share a series (Philips).
    """

    manufacturer: str
    model: str
    software: str
    description: dict[str, str]
    image_type: dict[str, tuple[str, ...]]
    cine_description: str
    protocol: str = ""
    scanning_sequence: tuple[str, ...] = ("GR", "IR")
    scan_options: tuple[str, ...] = ()
    states_inversion_time: bool = True
    series_per_slice: bool = False
    one_series_for_both: bool = False


VENDORS: dict[str, VendorProfile] = {
    "siemens": VendorProfile(
        manufacturer="SIEMENS",
        model="Aera",
        software="syngo MR E11",
        description={"magnitude": "de_overview_tfi_psir_sa_MAG", "psir": "de_overview_tfi_psir_sa_PSIR"},
        image_type={
            "magnitude": ("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
            "psir": ("ORIGINAL", "PRIMARY", "M", "PSIR", "NORM", "DIS2D"),
        },
        cine_description="cine_tf2d_sa_retro",
        protocol="de_overview_tfi_psir_sa",
    ),
    "ge": VendorProfile(
        manufacturer="GE MEDICAL SYSTEMS",
        model="SIGNA Artist",
        software="MR29.1",
        description={"magnitude": "MAG:SAX PSMDE", "psir": "SAX PSMDE"},
        image_type={
            "magnitude": ("ORIGINAL", "PRIMARY", "OTHER"),
            "psir": ("DERIVED", "PRIMARY", "OTHER"),
        },
        cine_description="SAX FIESTA CINE",
        protocol="CARDIAC",
        scan_options=("IR_GEMS",),
    ),
    "philips": VendorProfile(
        manufacturer="Philips Medical Systems",
        model="Ingenia",
        software="5.6.1",
        description={"magnitude": "PSIR_TFE 8slices", "psir": "PSIR_TFE 8slices"},
        image_type={
            "magnitude": ("ORIGINAL", "PRIMARY", "M_IR", "M", "IR"),
            "psir": ("ORIGINAL", "PRIMARY", "CR_IR", "CR", "IR"),
        },
        cine_description="sBTFE_BH SA",
        protocol="PSIR_TFE 8slices",
        one_series_for_both=True,
    ),
    "canon": VendorProfile(
        manufacturer="CANON_MEC",
        model="Vantage Orian",
        software="V6.0",
        description={"magnitude": "Delayed enh SA", "psir": "Delayed enh SA PSIR"},
        image_type={
            "magnitude": ("ORIGINAL", "PRIMARY", "OTHER"),
            "psir": ("ORIGINAL", "PRIMARY", "OTHER", "REAL"),
        },
        cine_description="SA cine SSFP",
        protocol="Delayed enh SA",
        scanning_sequence=("GR",),
        states_inversion_time=False,
        series_per_slice=True,
    ),
}
