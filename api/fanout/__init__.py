"""The fan-out: one log, read from Redis once, to any number of connections.

Knows no protocol: a `Dialect` (see wire.py) brings the frames.
"""
