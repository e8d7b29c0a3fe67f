"""src/ws/experiment."""
