"""Offline evaluation: the lists of a night, scored on what was heard afterwards."""
