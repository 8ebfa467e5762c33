"""A run on TPUs that are not here."""
