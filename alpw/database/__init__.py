"""Documents, indexes and queries: one module per collection, in the LaunchPad's own database."""
