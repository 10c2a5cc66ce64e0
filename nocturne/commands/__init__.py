"""Groups of `nocturne ...` commands that have a module of their own; `nocturne.cli` gathers them."""
