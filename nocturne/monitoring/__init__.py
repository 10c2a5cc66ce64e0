"""Monitoring: what a night came to beside the nights before, for whoever is on call."""
