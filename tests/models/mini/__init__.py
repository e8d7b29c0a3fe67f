"""tests/models/mini."""
