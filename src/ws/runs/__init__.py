"""src/ws/runs."""
