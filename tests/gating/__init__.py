"""tests/gating."""
