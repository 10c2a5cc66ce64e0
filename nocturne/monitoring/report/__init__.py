"""The page of a night for whoever is on call: gathered from tables, compared with the night before, rendered once."""
