"""tests/reporting."""
