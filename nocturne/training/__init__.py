"""Interaction matrix to models and item factors; the registry of models."""
