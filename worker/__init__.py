"""The consuming process: claims requests, calls the upstream, and writes the answers into logs.

Read in this order: `main`, `process` (whose parts `assembly` builds), `consumer` (the claim loop),
`job` (one request from its claim to its end), `attempt` and its `outcome`, `retry` (what follows a
failure), `log_writer`, `source` (what answers), then `upstream/` and `functions/`. `group` is for
several processes of one command. The package speaks Redis only through broker/, and only its
`upstream/` calls the upstream.
"""
