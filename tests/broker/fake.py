"""A fake server, for tests where a real server would only be noise."""

from typing import Any

from fakeredis import FakeAsyncRedis


class FakeServer(FakeAsyncRedis):
    """Runs scripts without their flags, because fakeredis cannot read the line with the flags."""

    def register_script(self, script: Any) -> Any:
        text = script.partition("\n")[2] if script.startswith("#!lua") else script
        return super().register_script(text)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As a real server's reply: members and scores in turn, where fakeredis sends pairs."""
        reply = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # bare in redis-py
        if args[0] == "ZREVRANGEBYSCORE":
            return [value for pair in reply for value in pair]
        return reply
