"""Errors about what a host supplies."""


class InvalidHost(TypeError):
    """A host supplies something that does not fit. The message names the piece and what it lacks."""
