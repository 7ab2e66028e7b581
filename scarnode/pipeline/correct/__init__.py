"""Corrected segmentations: found among received SEGs, and mapped to their stack."""
