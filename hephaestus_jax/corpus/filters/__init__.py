"""What decides which Documents stay, step by step."""
