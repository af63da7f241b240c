"""The control: a worker whose scripts let every attempt write, as if there were no fencing token.

The current attempt writes as safely as before; only zombies benefit. A
run with such workers must break invariants; if it does not, the run proves nothing.
"""

import tickertape.broker.appender
import tickertape.broker.lua

_APPEND_FENCE = """\
  if h[1] ~= 'running' or h[2] ~= attempt then return 'FENCED', h[1] or 'missing' end
"""
_APPEND_ANYWHERE = """\
  if not h[2] then return 'FENCED', 'missing' end
  if h[1] ~= 'running' or h[2] ~= attempt then attempt, first = h[2], h[3] + 1 end
"""
_RENEW_FENCE = "if h[1] == 'running' and h[2] == attempt then"
_RENEW_ANYBODY = "if h[1] == 'running' then"
_FINISH_FENCE = """\
local first = tonumber(first_seq)
local last = first + #ARGV - VALUES
if r.attempt ~= attempt then return { 'FENCED', r.state or 'missing' } end
if r.state == state then return { 'DUP', r.seq } end
if r.state ~= 'running' then return { 'FENCED', r.state or 'missing' } end
"""
_FINISH_ANYTIME = """\
if not r.state then return { 'FENCED', 'missing' } end
if r.attempt ~= attempt or r.state ~= 'running' then first_seq = r.seq + 1 end
local first = tonumber(first_seq)
local last = first + #ARGV - VALUES
"""
_MARK_FENCE = "if r.state ~= 'running' or r.attempt ~= attempt then"
_MARK_ANYBODY = "if not r.state then"
_REPLACED = {
    "append": (_APPEND_FENCE, _APPEND_ANYWHERE),
    "renew": (_RENEW_FENCE, _RENEW_ANYBODY),
    "finish": (_FINISH_FENCE, _FINISH_ANYTIME),
    "mark": (_MARK_FENCE, _MARK_ANYBODY),
}


def without_fence(name: str, text: str) -> str:
    """The text of a script without its fence. Raises AssertionError if the fence has changed."""
    fence, replacement = _REPLACED.get(name, ("", ""))
    if fence and text.count(fence) != 1:
        raise AssertionError(f"the fence of {name} has changed: change the control, too")
    return text.replace(fence, replacement) if fence else text


def remove_fences() -> None:
    """Let this process load scripts without their fences. Raises if they have no such fences."""
    fenced = tickertape.broker.lua.source

    def unfenced(name: str) -> str:
        return without_fence(name, fenced(name))

    for module in (tickertape.broker.lua, tickertape.broker.appender):
        module.source = unfenced  # type: ignore[attr-defined] # replaces a function
    for name in _REPLACED:
        unfenced(name)
