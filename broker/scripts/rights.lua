-- The rights that the account in REDIS_URL needs. A script names this file under NEEDS, and the loader puts it
-- in front.
-- If Redis refused a command in the middle of a script, the changes before that command would stay. So each
-- script checks all rights before it changes anything. The check takes some 35 us, three times a request; the
-- script that appends tokens makes no check.
-- A right has three values: a command, the beginning of a key or channel that the command is called with, and
-- how many arguments must follow. Valkey 9 crashes if a check passes too few arguments.
local RIGHTS = {
  'TIME', '', 0, 'EXISTS', 'tenant:', 0, 'DEL', 'log:', 0, 'GET', 'idem:', 0, 'SET', 'claim:', 1,
  'GET', 'tries:', 0, 'SET', 'tries:', 3,
  'EXPIRE', 'req:', 1, 'PEXPIRE', 'log:', 1, 'PTTL', 'log:', 0, 'PERSIST', 'index:', 0, 'HGET', 'conv:', 1,
  'HMGET', 'req:', 1, 'HEXISTS', 'req:', 1,
  'HSET', 'req:', 2, 'HSETNX', 'req:', 2, 'HDEL', 'req:', 1, 'HINCRBY', 'load', 2, 'LPUSH', 'wake', 1,
  'RPUSH', 'wait:', 1, 'LPOP', 'ring', 0, 'LREM', 'suspect', 2, 'LRANGE', 'ring', 2, 'LLEN', 'wake', 0,
  'LPOS', 'wait:', 1, 'SADD', 'tenant:', 1, 'SREM', 'tenant:', 1, 'SCARD', 'tenant:', 0, 'SMEMBERS', 'tenant:', 0,
  'ZADD', 'running', 2, 'ZREM', 'delayed', 1, 'ZRANGE', 'running', 2, 'ZRANGEBYSCORE', 'expiry:', 2,
  'XADD', 'log:', 3, 'XLEN', 'conv:', 0, 'XDEL', 'conv:', 1, 'XRANGE', 'log:', 2, 'XREVRANGE', 'log:', 2, 'SPUBLISH', 'push:', 1,
  'ZCARD', 'repeats', 0, 'ZPOPMIN', 'idle', 0, 'ZSCORE', 'kept', 1, 'HGETALL', 'kept:', 0, 'ZREMRANGEBYRANK', 'idle', 2,
  'SPUBLISH', 'push:conv:', 1, 'SPUBLISH', 'push:worker:', 1,
}
local ZEROS = { '0', '0', '0' }

-- A refusal in words. Only the error of a refused call says whether the command or the key is denied, so this
-- function calls the command.
local function describe_refusal(tag, command, name, count)
  local reply = redis.pcall(command, name, unpack(ZEROS, 1, count))
  local text = type(reply) == 'table' and reply.err or ''
  local is_of_command = name == tag or string.find(text, 'no permissions to run', 1, true)
    or string.find(text, "can't run this command", 1, true) -- the words of Redis 7.0
  return is_of_command and command or command .. ' on ' .. name .. '*'
end

-- Whether no right is refused; raises an error as `check` does. Seldom one is, so that the words of `refusals` cost the
-- other checks nothing: a `pcall` and an `unpack` for each right take a seventh of a check.
local function allows_all(check, tag, rights)
  for i = 1, #rights, 3 do
    local command, name, count = rights[i], tag .. rights[i + 1], rights[i + 2]
    local is_allowed
    if count == 0 then is_allowed = check(command, name)
    elseif count == 1 then is_allowed = check(command, name, '0')
    elseif count == 2 then is_allowed = check(command, name, '0', '0')
    else is_allowed = check(command, name, unpack(ZEROS, 1, count)) end
    if not is_allowed then return false end
  end
  return true
end

-- The refused ones of `rights` in words, at most `limit` of them.
local function refusals(tag, rights, limit)
  local refused = {}
  local check = redis.acl_check_cmd
  local is_complete, is_whole = pcall(allows_all, check, tag, rights)
  if is_complete and is_whole then return refused end
  for i = 1, check and #rights or 0, 3 do
    local command, name, count = rights[i], tag .. rights[i + 1], rights[i + 2]
    -- Redis raises an error for an unknown command, such as one that `rename-command` removed.
    local is_known, is_allowed = pcall(check, command, name, unpack(ZEROS, 1, count))
    if not (is_known and is_allowed) then
      refused[#refused + 1] = is_known and describe_refusal(tag, command, name, count)
        or command .. ' (unknown to this server)'
      if #refused == limit then break end
    end
  end
  return refused
end

