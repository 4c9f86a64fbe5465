"""Files in and out: NIfTI volumes, BIDS datasets, their metadata and the derivatives."""
