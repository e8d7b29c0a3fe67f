"""tests/generation."""
