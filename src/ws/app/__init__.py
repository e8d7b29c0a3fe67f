"""src/ws/app."""
