"""src/ws/models/mini."""
