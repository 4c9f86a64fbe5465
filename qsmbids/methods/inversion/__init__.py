"""Methods of dipole inversion (7.a, 7.b, Tables S2.3, S2.4); one module declares one method."""
