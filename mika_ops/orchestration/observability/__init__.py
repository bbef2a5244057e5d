"""Assets, asset checks and the hourly roll-up of the observations."""
