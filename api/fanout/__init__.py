"""The fan-out: each log is read from Redis once per process and written to any number of readers.

    Redis ──push──▶ Hub ──▶ WatchedLog ──▶ Tape ──▶ Rendering         the log, then its frames
                     │                                  │
                  Healer reads the log          Audience, one for each (log, dialect)
                  where a push is missing               │
                                                 Slice ─┴─ Slice      up to 64 connections each
                                                   │
                                            LiveConnection            a transport and a position

This package knows no protocol: a `Dialect` (wire.py) brings the frames. `Streams.follow` is the
only door: it holds a log's tape for one response, asks the protocol where to start, and releases
the tape when the response ends. On servers other than uvicorn, `PlainReader` reads the same frames
for one connection.

Reading order: wire, frames, tape, watched_log, healing, hub; then live_connection, slice, audience;
then streams, log_response, plain_reader.
"""
