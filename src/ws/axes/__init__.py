"""src/ws/axes."""
