"""The upstream: the only code that calls it and that reads its answers."""
