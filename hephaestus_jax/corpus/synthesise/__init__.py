"""What a language model writes for the corpus: documentation and labels."""
