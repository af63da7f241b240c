"""Tickertape: one append-only log per LLM request, typed once, watched by many, resumed by anyone.

The packages below are folders of the repository's top level, linked here so that all of them are
imported under one name: `tickertape.api`, `tickertape.worker`, `tickertape.broker`,
`tickertape.roles`, `tickertape.cli` and `tickertape.runtime`.
"""
