"""Solvers move x; the driver decides when to stop."""
