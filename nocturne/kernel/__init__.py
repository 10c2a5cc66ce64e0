"""Exact ranking: a listener's factors from their row, and the top of the catalogue for them.

Pure functions on NumPy arrays and CSR rows, compiled where NumPy is too slow. What a listener gets depends on
their own row and the model alone, to the last bit: not on the batch they are in, nor on its size or order,
nor on how much of the catalogue could be left out.

A night goes `solve` -> `select`: `axes` turns the factors so that both are cheap, `items` lays a catalogue out,
`choose` measures which way of selecting is fastest tonight, and `audit` proves a sample the slow way. `blend` scores
candidates again, and `rerank` chooses lists from them.
"""
