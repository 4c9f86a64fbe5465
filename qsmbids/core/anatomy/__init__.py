"""Where the brain and its regions are: a template registered to what a run has."""
