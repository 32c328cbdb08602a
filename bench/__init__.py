"""Benchmarks: `make bench`. Every figure is also a ratio to a bare loop run alternately in the same session."""
