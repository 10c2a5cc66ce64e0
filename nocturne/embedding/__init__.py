"""The catalogue's texts → an embedding of every item, before anyone hears it."""
