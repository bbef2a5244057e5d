"""The subtasks of maintenance: one module each, all of the same shape, and what they share."""
