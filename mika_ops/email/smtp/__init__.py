"""Sending emails by SMTP."""
