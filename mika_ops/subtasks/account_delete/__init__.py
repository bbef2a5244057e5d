"""The subtask that completes account-delete requests."""
