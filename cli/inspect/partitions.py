"""`tickertape partitions`: shows the partition map, and changes it on a live system."""

import asyncio
from pathlib import Path

from tickertape.broker.connections import Connections
from tickertape.broker.errors import Refused, Unavailable
from tickertape.broker.leftovers import Leftovers, find_leftovers
from tickertape.broker.partition_map import MAX_PARTITIONS, PartitionMap
from tickertape.broker.repartition import Repartition
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.inspect.redis_url import command_failed, redis_url
from tickertape.runtime.environment import load_settings
from tickertape.runtime.settings import Settings


def run(partitions: int | None, *, data_dir: Path) -> int:
    """Show the map, or change it; returns the exit code. Raises CommandFailed, SettingsInvalid."""
    if partitions is not None and partitions > MAX_PARTITIONS:
        raise CommandFailed(f"{partitions} is more than {MAX_PARTITIONS} partitions", Exit.USAGE)
    settings = load_settings()
    url = redis_url(settings, data_dir)
    try:
        asyncio.run(_run(url, settings, partitions))
    except Unavailable as error:
        again = "" if partitions is None else f". Run `tickertape partitions {partitions}` again."
        failed = command_failed(error, url)
        raise CommandFailed(f"{failed}{again}", failed.code) from None
    except Refused as error:
        raise CommandFailed(str(error)) from None
    return Exit.OK


async def _run(url: str, settings: Settings, wanted: int | None) -> None:
    connections = Connections(url, namespace=settings.namespace, partitions=settings.partitions)
    try:
        await connections.check_server()
        if not await connections.partitions.learn():
            raise CommandFailed(
                "no process has used this Redis yet: TICKERTAPE_PARTITIONS sets the first number"
            )
        if wanted is not None:
            await Repartition(connections).change(wanted, _say)
        present = await connections.partitions.refresh()
        leftovers = await find_leftovers(connections, present)
        if wanted is not None and (emptied := _emptied(leftovers)):
            # What was empty stays empty. What was created during the first look is found now.
            leftovers = await find_leftovers(connections, present)
            present = await Repartition(connections).drop(emptied & _emptied(leftovers))
        _show(present, leftovers)
    finally:
        await connections.aclose()


def _emptied(leftovers: dict[int, Leftovers]) -> set[int]:
    return {count for count, left in leftovers.items() if left.is_empty}


def _show(present: PartitionMap, leftovers: dict[int, Leftovers]) -> None:
    _say(f"new requests go to {_count(present.partitions)}, by map {present.epoch}")
    if present.next is not None:
        _say(
            f"a change to {_count(present.next)} was begun:"
            f" run `tickertape partitions {present.next}` to finish it"
        )
    for count in present.old:
        left = leftovers[count]
        _say(f"the map of {_count(count)} is kept for {left.describe()}")
    if any(leftovers[count].is_empty for count in present.old):
        _say(f"run `tickertape partitions {present.partitions}` to drop the maps without any")
    elif present.old:
        _say(
            "they end by themselves; then"
            f" `tickertape partitions {present.partitions}` drops the maps of before"
        )


def _say(line: str) -> None:
    print(line, flush=True)


def _count(partitions: int) -> str:
    return "1 partition" if partitions == 1 else f"{partitions} partitions"
