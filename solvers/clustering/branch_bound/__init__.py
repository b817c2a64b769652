"""Branch bound."""
