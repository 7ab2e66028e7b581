"""From result objects to their destinations."""
