"""Mika's admin API over HTTP: the calls, how they are sent, and what the answers mean."""
