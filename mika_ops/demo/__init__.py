"""The demo: a shop of its own, in which every subtask finds something to do."""
