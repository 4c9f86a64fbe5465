"""Transforms, differences, solvers and interpolation that several steps share."""
