"""tests/healing."""
