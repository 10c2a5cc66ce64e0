"""Offline evaluation: lists of a night held against what was heard afterwards."""
