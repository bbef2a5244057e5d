"""Assets, asset checks and the rollup of their observations."""
