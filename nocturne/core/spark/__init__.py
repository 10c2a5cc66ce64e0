"""Spark's session, its Java and its jars."""
