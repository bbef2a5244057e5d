"""The command ``mika-ops``."""
