"""`tickertape up`: Valkey, a local model, the API and workers on one machine, supervised.

Read in this order: `command` (the start, top to bottom), `processes` (the processes and their
environment), `supervisor` (restarts and ordered stop) with `child`, `service` and `restart`, then
the servers: `valkey` with `data_dir`, and `local_model`. `spawn` starts a process that ends with
its parent. `console` and `announcement` hold the printed lines.
"""
