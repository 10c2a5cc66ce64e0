"""Delta tables of a warehouse, their contracts, and who may write them: lease and fencing."""
