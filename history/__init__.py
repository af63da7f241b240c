"""Finished requests and conversations in an SQL database, for longer than Redis keeps them.

`tickertape deliver` writes them, and API processes read them. This is the only package that uses
SQLAlchemy, which the extra `tickertape[sql]` installs.
"""
