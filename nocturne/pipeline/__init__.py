"""Stages run for nights in one process, with progress and costs."""
