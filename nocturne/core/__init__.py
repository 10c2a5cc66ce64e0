"""Foundations: nights, settings, errors, arrays, hashing, the console, Spark's session."""
