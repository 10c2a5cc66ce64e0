"""Exact ranking: a listener's factors from their row, and the top of the catalogue for them.

Pure functions on NumPy arrays. What a listener gets depends on their own row and the model alone, to the
last bit: not on the batch they are in, nor on its size, nor on the other listeners.
"""
