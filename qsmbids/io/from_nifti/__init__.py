"""From NIfTI files of any names to raw BIDS, by a table that a person completes."""
