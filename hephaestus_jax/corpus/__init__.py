"""The corpus: raw sources in, filtered Documents out. No jax in here."""
