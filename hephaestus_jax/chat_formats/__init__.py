"""How conversations are written: a module for each family of models."""
