"""A fake server, for tests where a real server would only be noise."""

from typing import Any

from fakeredis import FakeAsyncRedis


class FakeServer(FakeAsyncRedis):
    """Runs scripts without their flags, because fakeredis cannot read the line with the flags."""

    def register_script(self, script: Any) -> Any:
        text = script.partition("\n")[2] if script.startswith("#!lua") else script
        return super().register_script(text)
