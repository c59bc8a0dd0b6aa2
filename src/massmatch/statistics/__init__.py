"""How sure one may be of what runs show: intervals, tests, ranks, and findings in words."""
