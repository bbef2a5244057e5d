"""The nine subtasks of maintenance, each one module of the same shape, and what they share."""
