"""Replication between two servers that tests interrupt, so that a promoted replica lacks writes."""

import time

import redis

from tests.support.wait import wait_until_sync


def catch_up(master: redis.Redis, replica: redis.Redis, *, timeout_s: float = 10) -> float:
    """Wait until a replica has every write that was acknowledged before now; the time of `now`.

    The time is the monotonic clock's, in seconds.
    """
    now_s = time.monotonic()
    offset = master.info("replication")["master_repl_offset"]
    wait_until_sync(
        lambda: replica.info("replication").get("slave_repl_offset", -1) >= offset,
        timeout_s=timeout_s,
        description="the replica to catch up",
    )
    return now_s


def cut_off(master: redis.Redis, replica: redis.Redis) -> None:
    """Let a replica get no more writes. It keeps what it has, and can be promoted."""
    replica.config_set("masterauth", "not the password")
    master.client_kill_filter(_type="replica")


def let_copy(server: redis.Redis, password: str) -> None:
    """Undo `cut_off`."""
    server.config_set("masterauth", password)
