"""Many runs as one command: what they are, what they cost, who does them, how far they are."""
