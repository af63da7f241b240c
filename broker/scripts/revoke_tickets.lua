-- Revoke one ticket, or all tickets of a key or of an object that have been issued until now.
-- KEYS   1 revoked  2 access
-- ARGV   1 member  2 until_ms
-- ->     OK ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- `until_ms` is when none of these tickets can be valid. Members whose time has passed are removed, some at a time.
local member, until_ms = unpack(ARGV)
local MOST_REMOVED = 100
call('ZADD', KEYS[1], until_ms, member)
for _, old in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', 0, MOST_REMOVED)) do
  call('ZREM', KEYS[1], old)
end
call('HINCRBY', KEYS[2], 'version', 1)
return { 'OK', '' }
