"""src/ws/generation."""
