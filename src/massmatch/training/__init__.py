"""Training and measuring one network on one fold of a cohort."""
