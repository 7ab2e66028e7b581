"""From labels to volumes, mass and %LGE."""
