"""tests/steering."""
