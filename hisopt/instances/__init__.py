"""Problem data."""
