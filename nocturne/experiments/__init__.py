"""Experiments: arms compared, from what was shown to a decision."""
