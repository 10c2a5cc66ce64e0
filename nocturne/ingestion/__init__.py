"""Landing zone to items, listens and quarantine, and on to the interaction matrix."""
