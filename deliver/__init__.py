"""The process that hands finished requests on: to the receivers of webhooks, and to the history.

It reads the outboxes (broker/outbox.py), and calls no upstream and serves no caller. Any number of
these processes may run. Each outbox is read by one of them at a time, and another one takes over
when that one dies.
"""
