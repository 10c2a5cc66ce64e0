"""A published night to its manifest, the serving cache and the pointer that readers follow."""
