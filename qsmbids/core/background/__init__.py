"""From the total to the local field and Mask 4 (6.a to 6.c, Table S2.2)."""
