"""What a pickle is refused with."""


class UnsafePickleError(ValueError):
    """The pickle asks for something outside the closed list, or for more than the caps allow."""


class CorruptPickleError(ValueError):
    """The bytes are not a complete, well-formed pickle."""
