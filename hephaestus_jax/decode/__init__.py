"""Decoding: prompts in, tokens out, many at once."""
