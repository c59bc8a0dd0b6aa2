"""What makes results wrong, looked for in a whole cohort: leakage, duplicates, odd masks, sizes, spacing."""
