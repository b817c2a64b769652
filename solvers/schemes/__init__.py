"""The papers' schemes, from prompts to decisions."""
