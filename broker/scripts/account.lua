-- Record what an unfinished attempt cost, once.
-- KEYS   1 request
-- ARGV   1 attempt  2 usage (JSON)
-- ->     OK '' | DUP '' | MISSING ''
-- FLAGS  allow-oom
-- A request that has expired is not created again.
local attempt, usage = unpack(ARGV)
if redis.call('EXISTS', KEYS[1]) == 0 then return { 'MISSING', '' } end
if redis.call('HSETNX', KEYS[1], 'usage:' .. attempt, usage) == 1 then return { 'OK', '' } end
return { 'DUP', '' }
