"""The HTTP process: routes over the broker, wires that render logs, and the fan-out to readers.

Holds nothing that matters: any process can answer any call, and may be killed at any time.
Reading order: app, protocols/native, asking, services, fanout/, the other protocols, edge/.
"""
