"""Functions: async generators of users' code that answer requests, in place of the upstream.

Read in this order: `definition` (the decorator), `request` and `context` (what a function gets),
`values` (what it yields), `loading` (how a worker finds functions), `pieces` (values become entries
of the log), `answer` (runs a function), `source` (the function as the source of an attempt).

Users import the first four through `import tickertape`, so these import nothing but Python's own
modules.
"""
