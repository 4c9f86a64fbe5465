"""From the phase to the total field, its weights and R2* (4.a to 4.c, Table S2.1)."""
