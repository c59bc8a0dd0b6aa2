"""What is done to a mammogram before a network sees it, and how it is undone."""
