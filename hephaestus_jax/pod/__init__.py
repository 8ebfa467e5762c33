"""What several machines need to be one run, and to survive one that goes."""
