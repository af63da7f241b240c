"""The queue and the logs: the only code of Tickertape that speaks Redis.

A request is submitted once, claimed under a lease, typed into its log, and read by anyone who may.
Reading order: codec (what a log holds), fold (what it means), keys, scripts/, queue, log, push.
"""
