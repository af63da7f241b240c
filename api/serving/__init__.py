"""How the process runs: uvicorn's server, and several processes that share one socket."""
