"""Masks 1 to 3 (5.a, 5.b, Figure 5)."""
