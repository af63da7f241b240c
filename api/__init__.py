"""The HTTP process: accepts requests, and serves each log to any number of readers.

The process holds nothing that matters: any process can answer any call, and may be killed at any
time. Reading order: fanout/ (one log to many readers), protocols/ (bodies, wires and routes), then
asking and services (from a body to the broker), edge/ (which calls are let in), app and serving/.
"""
