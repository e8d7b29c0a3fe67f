"""tests/builders."""
