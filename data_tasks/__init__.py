"""SeqIO Tasks and Mixtures, registered on import of their modules."""
