"""The error of native code."""


class NativeError(ValueError):
    """Code that cannot be loaded here, a place outside memory, or a team used wrongly."""
