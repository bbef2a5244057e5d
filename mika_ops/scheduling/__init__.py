"""Whether a tick of the schedule starts a run."""
