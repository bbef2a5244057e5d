"""Errors about settings."""


class SettingsError(ValueError):
    """Settings that cannot be used. The message names each variable and says what it should be, one line each."""
