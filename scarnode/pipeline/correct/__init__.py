"""A segmentation that a person corrected: recognised, laid on its stack, kept as a case to learn from."""
