"""Nipype graphs: the consensus steps as nodes, one sub-graph per run."""
