"""Methods of background field removal (6.a, Table S2.2); one module declares one method."""
