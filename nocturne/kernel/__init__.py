"""Exact ranking: a listener's factors from their row, and the top of the catalogue for them.

Pure functions on NumPy arrays and CSR rows, compiled where NumPy is too slow. What a listener gets depends on
their own row and the model alone, to the last bit: not on the batch they are in, nor on its size or order,
nor on how much of the catalogue could be left out.

A night goes `solve` -> `top_k`: `layout` lays a catalogue out, a `query` says who may get what of it, `autotune`
measures which plan is fastest tonight, `warm_start` begins with last night's lists, and `audit` proves a sample the
slow way. `blend` scores candidates again, and `rerank` chooses lists from them; `combine` orders by score and evidence
together. Factors lie on their principal axes, which makes both steps cheap.
"""
