"""Benchmarks: what a checkpoint can do, by the official scorers."""
