"""The `tickertape` command.

Read in this order: `arguments` (every option and its help), `commands` (one function per command),
then the folders: `up/` starts and supervises all processes, `chat/` submits and follows requests,
`inspect/` examines settings, roles and dead requests. `serve` is a single API, worker or model
process. `main` turns errors into exit codes (`exits`).
"""
