"""tests/axes."""
