"""Many runs: which there are, what is missing, and what came of them."""
