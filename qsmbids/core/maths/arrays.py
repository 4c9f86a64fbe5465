"""Names for the kinds of arrays, and the error for a mask that holds nothing."""

__all__ = ["EmptyMaskError"]


class EmptyMaskError(ValueError):
    """No voxel is left of a mask: it was empty, or too small or thin for what is taken off.

    Other causes, a wrong shape or a field that is not finite, are a plain :class:`ValueError`.
    """
