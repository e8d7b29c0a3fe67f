"""src/ws/healing."""
