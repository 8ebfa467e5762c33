"""Figures, tables and the page, drawn from the artefacts of a run."""
