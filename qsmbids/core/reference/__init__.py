"""Reference regions, values of regions and the check of the sign (8.a to 8.g)."""
