-- Put the tokens that a call of an upstream used in place of those that it reserved.
-- KEYS   1 minute  2 entered
-- ARGV   1 tokens
-- ->     OK
-- FLAGS  allow-oom
-- NEEDS  minute
-- What a long call used beyond its reservation counts from now on, because the time of its reservation is over.
-- Invariant: a call is settled once. A repeated call finds no `entered`.
local tokens = unpack(ARGV)
local entered = redis.call('GET', KEYS[2])
if not entered then return { 'OK' } end
local at, reserved = string.match(entered, '^(%d+)|(%d+)$')
local change, is_over = tonumber(tokens) - tonumber(reserved), tonumber(at) < slot - SLOTS

redis.call('DEL', KEYS[2])
if change ~= 0 and (change > 0 or not is_over) then
  redis.call('HINCRBY', KEYS[1], 't' .. (is_over and int(slot) or at), int(change))
  redis.call('PEXPIRE', KEYS[1], int((SLOTS + 2) * SLOT_MS))
end
return { 'OK' }
