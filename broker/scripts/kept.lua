-- What a tenant keeps in this partition until it expires: functions that scripts share, behind those of prefix.lua.
-- Redis does not say when a key expires. So what is kept is counted by the time at which it expires, in few steps, and
-- each step is dropped as a whole when its time has come. Without an erasure, nothing has to be subtracted.
-- Invariant: the score of a tenant in `kept` is the sum of `kept:<tenant>`, which has the bytes by their end in s; each
-- counted key has a field `stored`, with the end, the bytes and the tenant under which it was counted.

-- A step is about a 64th of the time for which something is kept, and at least a minute.
local MOST_STEPS, LEAST_STEP_S = 64, 60

-- The end of the step in which something expires that is kept for so long, in s.
local function step_end(kept_s)
  local step_s = LEAST_STEP_S
  while step_s * MOST_STEPS < kept_s do step_s = step_s * 2 end
  return math.ceil((now / 1000 + kept_s) / step_s) * step_s
end

local function change_kept(account, until_s, bytes)
  -- Steps that are over are dropped as a whole.
  if bytes == 0 or until_s * 1000 <= now then return end
  local steps, field = P .. 'kept:' .. account, int(until_s)
  local in_step = call('HINCRBY', steps, field, int(bytes))
  local is_new_step = in_step == bytes
  -- Redis may have evicted the steps.
  if in_step <= 0 then bytes = bytes - in_step end
  if in_step <= 0 then call('HDEL', steps, field) end
  local total = tonumber(call('ZADD', P .. 'kept', 'INCR', int(bytes), account))
  if total <= 0 then
    call('ZREM', P .. 'kept', account)
    call('ZREM', P .. 'aging', account)
    return
  end
  if not is_new_step then return end
  local first = tonumber(call('ZSCORE', P .. 'aging', account) or math.huge)
  if until_s * 1000 < first then call('ZADD', P .. 'aging', int(until_s * 1000), account) end
  local rest_ms = until_s * 1000 - now
  if bytes > 0 and call('PTTL', steps) < rest_ms then call('PEXPIRE', steps, int(rest_ms + 60000)) end
end

-- Take a key out of the count, because it is erased or counted again.
local function uncount_kept(key)
  local until_s, bytes, account = string.match(call('HGET', key, 'stored') or '', '^(%d+)|(%d+)|(.*)$')
  if not until_s then return 0 end
  change_kept(account, tonumber(until_s), -tonumber(bytes))
  call('HDEL', key, 'stored')
  return tonumber(bytes)
end

-- Count the bytes of a key that is kept for `kept_s` from now on, in place of what was counted for it before. `is_first`:
-- nothing was.
local function count_kept(key, owner, bytes, kept_s, is_first)
  if not is_first then uncount_kept(key) end
  local until_s, account = step_end(kept_s), account_of(owner)
  change_kept(account, until_s, bytes)
  call('HSET', key, 'stored', int(until_s) .. '|' .. int(bytes) .. '|' .. account)
end

-- Count a key that is kept for `kept_s` from now on, with as many bytes as before.
local function move_kept(key, kept_s)
  local bytes, owner = string.match(call('HGET', key, 'stored') or '', '|(%d+)|(.*)$')
  if bytes then count_kept(key, owner, tonumber(bytes), kept_s) end
end

-- Count fewer bytes of a key, because a part of it is erased.
local function lessen_kept(key, bytes)
  local until_s, before, account = string.match(call('HGET', key, 'stored') or '', '^(%d+)|(%d+)|(.*)$')
  if not until_s then return end
  local less = math.min(bytes, tonumber(before))
  change_kept(account, tonumber(until_s), -less)
  call('HSET', key, 'stored', until_s .. '|' .. int(before - less) .. '|' .. account)
end

-- Drop the steps of a tenant that are over.
local function drop_expired(account)
  local steps, total, first = P .. 'kept:' .. account, 0, nil
  local rows = call('HGETALL', steps)
  for i = 1, #rows, 2 do
    local until_ms = tonumber(rows[i]) * 1000
    if until_ms <= now then
      call('HDEL', steps, rows[i])
    else
      total, first = total + tonumber(rows[i + 1]), math.min(first or until_ms, until_ms)
    end
  end
  if not first then
    call('ZREM', P .. 'kept', account)
    call('ZREM', P .. 'aging', account)
    return 0
  end
  call('ZADD', P .. 'kept', int(total), account)
  call('ZADD', P .. 'aging', int(first), account)
  return total
end

-- Whether a tenant may keep so many bytes more. The bytes are counted again before a refusal: some may have expired, and
-- Redis may have evicted the count of others.
local function may_keep(account, bytes, limit)
  local total = tonumber(call('ZSCORE', P .. 'kept', account) or 0)
  return total + bytes <= limit or (total > 0 and drop_expired(account) + bytes <= limit)
end
