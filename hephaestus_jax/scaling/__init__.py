"""The scaling study: what share of agent data is best, and how sure that is."""
