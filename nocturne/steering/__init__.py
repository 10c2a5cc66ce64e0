"""Steering: what a listener asks for, as a plan; words that become one; the items that obey it, and a receipt."""
