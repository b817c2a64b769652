"""Sharing in trees: clusters that split after some common steps into clusters that share some more."""
