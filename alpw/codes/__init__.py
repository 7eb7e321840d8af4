"""External programs that label structures or run dynamics: one folder per program, the same files in each."""
