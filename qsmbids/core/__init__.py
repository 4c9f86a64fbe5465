"""Every step of the pipeline as functions on arrays: no files, no BIDS, no logging."""
