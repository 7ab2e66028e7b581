"""From a measured stack to DICOM SEG, SR and a picture."""
