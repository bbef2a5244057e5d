"""Errors about what a host supplies."""


class InvalidHost(TypeError):
    """A host supplies an invalid component. The message names the component and what it lacks."""
