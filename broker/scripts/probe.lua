-- Name everything that Tickertape's processes do and that the account in REDIS_URL may not do. Changes nothing.
-- A script with flags, but without `no-writes`, is refused where a write would be refused: by a replica, for example.
-- KEYS   1 ring
-- ARGV   1.. values, the hash tags of the partitions to check, as {p0}:
-- ->     the refusals in words, each once; empty when everything is allowed
-- FLAGS  allow-oom
-- NEEDS  rights
local OTHER_KEYS = {
  'HMGET', 'load', 1, 'HSET', 'load', 2, 'LREM', 'ring', 2, 'RPUSH', 'ring', 1, 'LPUSH', 'suspect', 1,
  'LPOP', 'suspect', 0, 'LREM', 'wait:', 2, 'LPOP', 'wake', 0, 'ZREM', 'running', 1, 'ZRANGE', 'delayed', 2,
  'ZADD', 'delayed', 2, 'ZADD', 'index:', 2, 'ZREM', 'index:', 1, 'ZADD', 'expiry:', 2, 'HSET', 'conv:', 2,
  'XADD', 'conv:', 3, 'XADD', 'dead', 3, 'SET', 'idem:', 1, 'GET', 'claim:', 0,
  'ZADD', 'idle', 2, 'ZREM', 'idle', 1, 'ZRANGEBYSCORE', 'newer', 2, 'ZADD', 'newer', 2, 'ZREM', 'newer', 1,
  'SADD', 'pools', 1, 'SREM', 'pools', 1, 'SMEMBERS', 'pools', 0, 'SADD', 'tenants', 1, 'SREM', 'tenants', 1, 'SMEMBERS', 'tenants', 0, 'ZADD', 'uncompacted', 2, 'ZREM', 'uncompacted', 1,
  'ZRANGEBYSCORE', 'uncompacted', 2,
  'HMGET', 'seats:', 1, 'HSET', 'seats:', 2, 'HDEL', 'seats:', 1, 'HINCRBY', 'seats:', 2, 'HGETALL', 'seats:', 0,
  'DEL', 'seats:', 0, 'EXPIRE', 'seats:', 1, 'GET', 'epoch', 0, 'SET', 'epoch', 1,
  'HINCRBY', 'erasures', 2, 'HINCRBY', 'access', 2, 'HSET', 'keys', 2, 'HDEL', 'keys', 1, 'HGET', 'key_ids', 1, 'HSET', 'key_ids', 2, 'HDEL', 'key_ids', 1,
  'HDEL', 'key_uses', 1, 'ZADD', 'revoked', 2, 'ZRANGEBYSCORE', 'revoked', 2, 'ZREM', 'revoked', 1, 'HINCRBY', 'busy', 2, 'HDEL', 'busy', 1, 'HMGET', 'busy', 1, 'DEL', 'busy', 0, 'HINCRBY', 'owed', 2, 'HDEL', 'owed', 1,
  'HGET', 'crowd', 1, 'HINCRBY', 'crowd', 2, 'HDEL', 'crowd', 1, 'DEL', 'crowd', 0, 'HGET', 'owed', 1, 'DEL', 'owed', 0, 'HGET', 'settled', 1, 'HSET', 'settled', 2, 'XADD', 'unsettled', 3, 'HMGET', 'rates:', 1, 'HSET', 'rates:', 2, 'PEXPIRE', 'rates:', 1, 'HMGET', 'weights', 1, 'HSET', 'weights', 2, 'HDEL', 'weights', 1,
  'HINCRBY', 'conv:', 2, 'ZADD', 'convs:', 2, 'ZREM', 'convs:', 1, 'ZRANGEBYSCORE', 'convs:', 2, 'PERSIST', 'convs:', 0,
  'HINCRBY', 'kept:', 2, 'HDEL', 'kept:', 1, 'PTTL', 'kept:', 0, 'PEXPIRE', 'kept:', 1, 'ZADD', 'kept', 2, 'ZREM', 'kept', 1,
  'ZSCORE', 'aging', 1, 'ZADD', 'aging', 2, 'ZREM', 'aging', 1, 'ZRANGEBYSCORE', 'aging', 2,
  'HGET', 'exchange:', 1, 'HMGET', 'exchange:', 1, 'HSET', 'exchange:', 2, 'PTTL', 'exchange:', 0, 'PEXPIRE', 'exchange:', 1,
  'DEL', 'exchange:', 0,
  'XLEN', 'outbox:', 0, 'XADD', 'outbox:', 3, 'XRANGE', 'outbox:', 2, 'XDEL', 'outbox:', 1, 'HGET', 'outboxed', 1, 'HSET', 'outboxed', 2,
  'HINCRBY', 'outboxed', 2, 'HSET', 'record:', 2, 'EXPIRE', 'record:', 1, 'DEL', 'record:', 0, 'ZADD', 'repeats', 2, 'ZREM', 'repeats', 1,
  'ZRANGEBYSCORE', 'repeats', 2, 'ZADD', 'given_up', 2, 'ZREM', 'given_up', 1, 'ZCARD', 'given_up', 0, 'ZRANGE', 'given_up', 2, 'RPUSH', 'given_up:', 1, 'LREM', 'given_up:', 2, 'LLEN', 'given_up:', 0, 'DEL', 'given_up:', 0, 'ZADD', 'erased', 2, 'ZRANGEBYSCORE', 'erased', 2,
  'HGETALL', 'watch:', 0, 'HSET', 'watch:', 2, 'HDEL', 'watch:', 1, 'EXPIRE', 'watch:', 1,
}
-- Commands that a process calls directly, outside of scripts.
local PLAIN = {
  'PING', '', 0, 'EVALSHA', '', 1, 'GET', 'partitions', 0, 'SET', 'partitions', 1, 'GET', 'models', 0,
  'GET', 'map', 0, 'SET', 'map', 1, 'EXISTS', 'idem:', 0, 'GET', 'upstream', 0, 'SET', 'upstream', 1,
  'SET', 'models', 1, 'GET', 'models_fault', 0, 'SET', 'models_fault', 1, 'HGETALL', 'req:', 0,
  'HGETALL', 'conv:', 0, 'EXISTS', 'conv:', 0, 'HGETALL', 'kept:', 0, 'ZREVRANGEBYSCORE', 'kept', 2, 'XRANGE', 'conv:', 2, 'XREVRANGE', 'conv:', 2,
  'XRANGE', 'unsettled', 2, 'XDEL', 'unsettled', 1, 'XRANGE', 'dead', 2, 'XDEL', 'dead', 1, 'XLEN', 'dead', 0, 'ZCARD', 'running', 0, 'ZCARD', 'delayed', 0,
  'LLEN', 'wait:', 0, 'LINDEX', 'wait:', 1, 'LLEN', 'suspect', 0, 'SMEMBERS', 'fleet', 0, 'SMEMBERS', 'tenant:', 0, 'SADD', 'fleet', 1,
  'SREM', 'fleet', 1, 'EXPIRE', 'fleet', 1, 'SET', 'report:', 1, 'GET', 'report:', 0, 'PTTL', 'report:', 0,
  'DEL', 'report:', 0,
  'SMEMBERS', 'announced', 0, 'SADD', 'announced', 1, 'SREM', 'announced', 1, 'EXPIRE', 'announced', 1,
  'SET', 'announced:', 1, 'PTTL', 'announced:', 0, 'SMEMBERS', 'pools', 0,
  'HMGET', 'erasures', 1, 'HSET', 'erasures', 2, 'SET', 'rewriting', 1, 'HMGET', 'agreement', 1, 'HSET', 'agreement', 2, 'HGET', 'access', 1, 'HSETNX', 'access', 2,
  'HMGET', 'keys', 1, 'HGETALL', 'keys', 0, 'HGETALL', 'key_uses', 0, 'HSET', 'key_uses', 2, 'ZSCORE', 'revoked', 1, 'HMGET', 'conv:', 1, 'ZREVRANGEBYSCORE', 'convs:', 2, 'ZREVRANGEBYSCORE', 'index:', 2, 'EXISTS', 'ring', 0, 'EXISTS', 'suspect', 0, 'SUNSUBSCRIBE', 'push:', 0, 'SSUBSCRIBE', 'push:', 0,
  'SSUBSCRIBE', 'push:conv:', 0, 'SSUBSCRIBE', 'push:worker:', 0,
  'ZREM', 'erased', 1, 'HGETALL', 'record:', 0, 'HGETALL', 'outboxed', 0, 'LRANGE', 'given_up:', 2,
}
local named, is_named = {}, {}
local function add_refusal(refusal)
  if not is_named[refusal] then named[#named + 1] = refusal end
  is_named[refusal] = true
end

for _, tag in ipairs(ARGV) do
  for _, rights in ipairs({ RIGHTS, OTHER_KEYS, PLAIN }) do
    for _, refusal in ipairs(refusals(tag, rights, #rights)) do add_refusal(refusal) end
  end
end
local is_known, may_load = pcall(redis.acl_check_cmd, 'SCRIPT', 'LOAD', '')
if not (is_known and may_load) then add_refusal('SCRIPT LOAD') end
return named
