"""From the local field to the susceptibility (7.a, 7.b, Tables S2.3 and S2.4)."""
