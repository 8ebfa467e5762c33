"""Continual pre-training of language models for agents (arXiv 2502.06589)."""
