"""Interactions and a model to pools and ranked lists, for every listener."""
