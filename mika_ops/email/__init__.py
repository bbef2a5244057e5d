"""Renders outbox documents as emails, and sends them to a mail server or writes them to a folder."""
