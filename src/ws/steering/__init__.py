"""src/ws/steering."""
