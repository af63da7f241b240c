"""The `tickertape` command.

Read in this order: `arguments` (every option and its help), `commands` (one function per command),
then the folders: `up/` starts and supervises all processes, `chat/` submits and follows requests,
`bench/` puts load on a deployment, `inspect/` examines settings, roles and dead requests. `serve`
is one API, worker or model. `main` turns errors into exit codes (`exits`).
"""
