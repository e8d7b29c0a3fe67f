"""tests/experiment."""
