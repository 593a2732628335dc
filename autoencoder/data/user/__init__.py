"""A user's images."""
