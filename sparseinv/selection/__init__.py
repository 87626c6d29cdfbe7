"""Choosing lambda, and what happens to it when the problem is rescaled."""
