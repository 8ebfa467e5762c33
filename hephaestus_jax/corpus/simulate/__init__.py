"""Simulated agents: loops that act in text environments, as Documents."""
