"""The queue and the logs: the only code of Tickertape that speaks Redis.

A request is submitted once and claimed under a lease; its worker writes the log, and any number of
readers follow it. Reading order: codec (what a log holds), scripts/ (every change of state), keys,
fold (the state that a log stands for), queue, log, push.
"""
