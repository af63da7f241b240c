-- What the account in REDIS_URL has to be allowed. The loader puts it in front of prefix and of probe.
-- A command that Redis refuses in the middle of a script leaves the half before it behind, so that each
-- script asks before it changes anything. Asking about all of them takes 14 us, three times a request; the
-- script that appends tokens does not ask.
-- Three values for each: a command, a key or a channel of the kind that it is called with, and how many
-- arguments have to follow. Asked about a command with too few, Valkey 9 crashes.
local RIGHTS = {
  'TIME', '', 0, 'EXISTS', 'tenant:', 0, 'DEL', 'log:', 0, 'GET', 'idem:', 0, 'SET', 'claim:', 1,
  'EXPIRE', 'req:', 1, 'PERSIST', 'index:', 0, 'HGET', 'conv:', 1, 'HMGET', 'req:', 1, 'HEXISTS', 'req:', 1,
  'HSET', 'req:', 2, 'HSETNX', 'req:', 2, 'HDEL', 'req:', 1, 'HINCRBY', 'load', 2, 'LPUSH', 'wake', 1,
  'RPUSH', 'wait:', 1, 'LPOP', 'ring', 0, 'LREM', 'suspect', 2, 'LRANGE', 'ring', 2, 'LLEN', 'wake', 0,
  'LPOS', 'wait:', 1, 'SADD', 'tenant:', 1, 'SREM', 'tenant:', 1, 'SCARD', 'tenant:', 0,
  'ZADD', 'running', 2, 'ZREM', 'delayed', 1, 'ZRANGE', 'running', 2, 'ZRANGEBYSCORE', 'expiry:', 2,
  'XADD', 'log:', 3, 'XDEL', 'conv:', 1, 'XRANGE', 'log:', 2, 'XREVRANGE', 'log:', 2, 'SPUBLISH', 'push:', 1,
  'SPUBLISH', 'push:conv:', 1, 'SPUBLISH', 'push:worker:', 1,
}
local ZEROS = { '0', '0', '0' }

-- A refusal in words. Redis is made to refuse once more, as its error alone says what it minds.
local function in_words(tag, command, name, count)
  local reply = redis.pcall(command, name, unpack(ZEROS, 1, count))
  local said = type(reply) == 'table' and reply.err or ''
  local is_of_command = name == tag or string.find(said, 'no permissions to run', 1, true)
  return is_of_command and command or command .. ' on ' .. name .. '*'
end

-- Those of `rights` that Redis would refuse, in words; `most` of them at the most.
local function refusals(tag, rights, most)
  local found = {}
  local ask = redis.acl_check_cmd
  for i = 1, ask and #rights or 0, 3 do
    local command, name, count = rights[i], tag .. rights[i + 1], rights[i + 2]
    -- Redis raises an error for a command that it does not know, as after `rename-command`.
    local is_known, is_allowed = pcall(ask, command, name, unpack(ZEROS, 1, count))
    if not (is_known and is_allowed) then
      found[#found + 1] = is_known and in_words(tag, command, name, count) or command .. ' (unknown to this server)'
      if #found == most then break end
    end
  end
  return found
end

