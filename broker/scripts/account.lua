-- Note what an attempt cost that did not finish, once.
-- KEYS  1 request hash
-- ARGV  1 attempt  2 usage (JSON)
-- ->    OK '' | DUP '' | MISSING ''
-- A request that expired meanwhile is not made anew.
if redis.call('EXISTS', KEYS[1]) == 0 then return { 'MISSING', '' } end
if redis.call('HSETNX', KEYS[1], 'usage:' .. ARGV[1], ARGV[2]) == 1 then return { 'OK', '' } end
return { 'DUP', '' }
