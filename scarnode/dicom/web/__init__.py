"""DICOMweb: STOW-RS to a destination; and the HTTP client that the webhook goes by too."""

from scarnode.dicom.web.stow import WebDestination

__all__ = ["WebDestination"]
