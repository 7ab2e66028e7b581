"""DICOMweb: STOW-RS to a destination."""
