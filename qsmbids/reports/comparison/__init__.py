"""Maps of this program beside published ones."""
