"""Mobile edge generation."""
