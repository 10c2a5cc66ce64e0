"""The HTTP service: what the night computed and what comes next, answered from the serving cache."""
