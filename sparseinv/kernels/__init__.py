"""Every compiled loop, and nothing else: numpy and numba, arrays and numbers only."""
