"""src/ws/reporting."""
