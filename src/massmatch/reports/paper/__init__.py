"""The paper's tables beside ours, and the numbers that it prints."""
