"""Web text that lies near the seed data."""
