"""The papers, reproduced."""
