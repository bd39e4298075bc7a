"""Benchmarks: ratios in one run, peers beside us, their versions named. No test depends on one."""
