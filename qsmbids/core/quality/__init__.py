"""Measures of what may be wrong with a map (8.a, Table 1)."""
