"""Expiry and removal of old nights, models and files."""
