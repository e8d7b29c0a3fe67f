"""tests/runs."""
