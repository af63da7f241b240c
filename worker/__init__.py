"""The consuming process: claims requests, asks the upstream, and writes what it says into logs.

Speaks Redis only through broker/, and is the only package that speaks to the upstream.
"""
