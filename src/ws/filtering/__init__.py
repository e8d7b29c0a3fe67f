"""src/ws/filtering."""
