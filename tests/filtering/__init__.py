"""tests/filtering."""
