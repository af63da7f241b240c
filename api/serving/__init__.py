"""How the process runs: uvicorn's server on one socket, and several processes that share it."""
