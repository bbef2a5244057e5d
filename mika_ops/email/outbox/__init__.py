"""The email outbox: leasing, sending and recording."""
