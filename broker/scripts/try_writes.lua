-- Write a value of every kind that requests need, push once, and remove the values.
-- KEYS   1 ring
-- ARGV   1 name, which no request and no tenant has
-- ->     OK
-- NEEDS  rights prefix
-- Invariant: the values exist within this script only, so no other call sees them, and a repeated call changes nothing.
-- Like the scripts of submits and claims, this one has no flags, so Redis refuses it as it refuses these. A full memory
-- refuses only the first write of a script, so that one must need memory.
local name = unpack(ARGV)
local text, hash, list = P .. 'claim:' .. name, P .. 'req:' .. name, P .. 'wait:' .. name
local set, sorted, log = P .. 'tenant:' .. name, P .. 'index:' .. name, P .. 'log:' .. name
call('SET', text, '1', 'PX', 1000)
call('DEL', hash, list, set, sorted, log)
call('HSET', hash, 'tried', '1')
call('RPUSH', list, '1')
call('SADD', set, '1')
call('ZADD', sorted, '1', '1')
call('XADD', log, '*', 'tried', '1')
call('SPUBLISH', P .. 'push:' .. name, '')
call('DEL', text, hash, list, set, sorted, log)
return { 'OK' }
