"""src/ws/models/adapters."""
