"""src/ws/models."""
