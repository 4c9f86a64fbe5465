"""Nipype nodes: each reads files, calls one function of ``core``, and writes files."""
