"""Benchmarks: ours against the floor, as ratios in one run."""
