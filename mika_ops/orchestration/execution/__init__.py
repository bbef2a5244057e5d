"""How runs are executed and canceled."""
