"""A simulated service, with its truth written down, as a landing zone."""
