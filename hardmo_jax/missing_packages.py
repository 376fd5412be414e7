"""The error about a package that is not installed, which a tool tells in one line as it does every user's mistake."""


class MissingPackageError(ImportError):
    """An optional package is not installed; the message says how to get it."""
