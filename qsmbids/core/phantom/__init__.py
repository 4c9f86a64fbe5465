"""A head with known susceptibility and its field."""
