"""Networks and intensity methods against an expert's contours."""
