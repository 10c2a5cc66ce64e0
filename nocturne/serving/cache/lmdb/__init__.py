"""The embedded cache: one LMDB environment a generation."""
