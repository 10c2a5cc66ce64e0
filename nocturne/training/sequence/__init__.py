"""The sequence model: a transformer over the items that a listener heard last, learned in JAX and encoded in NumPy."""
