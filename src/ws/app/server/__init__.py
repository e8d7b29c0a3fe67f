"""src/ws/app/server."""
