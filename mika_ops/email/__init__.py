"""Makes an email of an outbox document and hands it to a mail server or to a folder."""
