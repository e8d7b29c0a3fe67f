"""tests/evaluation."""
