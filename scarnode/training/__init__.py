"""From cases to weights, tables and figures. Imports with torch, numpy, scipy and scikit-image alone."""
