"""The executors of runs, and how an interrupted run is canceled."""
