"""The shared cache: hashes of a Redis server."""
