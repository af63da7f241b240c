"""The HTTP process: accepts requests, and serves each log to any number of readers.

The process keeps no durable state. Every API process can answer every call, and may be killed at
any time. Reading order: fanout/ (one log to many readers), protocols/ (bodies, wires and routes),
asking and services (from a body to the broker), edge/ (which calls are accepted), app and serving/.
"""
