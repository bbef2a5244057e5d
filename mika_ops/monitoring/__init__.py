"""Whether a shop is in order: a snapshot of its backlog, checks and metrics."""
