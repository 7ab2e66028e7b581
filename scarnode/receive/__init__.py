"""From a DICOM association to durable files."""
