"""Incidents, the messages about them, and the channels that deliver them."""
