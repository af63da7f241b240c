-- Shared by every script but append, renew, account and probe; the loader puts it in front of them.
-- KEYS[1] is any key of the partition: all others are built from its hash tag, so they share its slot.
-- Invariants kept by these functions:
--   a tenant stands in the ring exactly once if and only if its waiting list is not empty;
--   a request is in exactly one of waiting list, suspect list, held list, delayed, running, or is over;
--   a request that was suspect once waits nowhere but in the suspect list;
--   an entry is never written without being pushed; the terminal is the last entry there will be;
--   a log that ends, or goes on with another attempt, holds only what its hash knows of.
local call = redis.call
local P = string.match(KEYS[1], '^{[^}]*}:')
local refused = refusals(P, RIGHTS, 1)[1]
if refused then return redis.error_reply('NOPERM this account may not run ' .. refused) end

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local WAKE_LIMIT = 64

-- Lua would print a large number as 1.7e+12.
local function int(x) return string.format('%.0f', x) end

local function put(id, entry_id, value)
  call('XADD', P .. 'log:' .. id, entry_id, 'e', value)
  call('SPUBLISH', P .. 'push:' .. id, entry_id .. '\n' .. #value .. ':' .. value)
end

-- A writer without a fence adds an entry, and Redis refuses our next id: raised here, that would end
-- each claim that has this request to reap, and with it the partition, while readers stop at the
-- hole before the entry. Redis takes no id back, so what is ours is written once more without it.
local function drop_strangers(r)
  local log, last = P .. 'log:' .. r.id, r.attempt .. '-' .. int(r.seq)
  if #call('XRANGE', log, '(' .. last, '+', 'COUNT', 1) == 0 then return end
  local ours = call('XRANGE', log, '-', last)
  call('DEL', log)
  for _, entry in ipairs(ours) do call('XADD', log, entry[1], 'e', entry[2][2]) end
end

local function tell(id, kind, json) call('SPUBLISH', P .. 'push:' .. id, '~' .. kind .. '\n' .. json) end

local function wake()
  if call('LLEN', P .. 'wake') < WAKE_LIMIT then call('LPUSH', P .. 'wake', '1') end
end

local function enqueue(id, tenant, to_head, turn_now)
  local push = to_head and 'LPUSH' or 'RPUSH'
  if call('HEXISTS', P .. 'req:' .. id, 'suspect') == 1 then
    call(push, P .. 'suspect', id)
  elseif call(push, P .. 'wait:' .. tenant, id) == 1 then
    call(turn_now and 'LPUSH' or 'RPUSH', P .. 'ring', tenant)
  end
  wake()
end

local function unqueue(id, tenant)
  local waiting = P .. 'wait:' .. tenant
  if call('LREM', waiting, 1, id) == 0 then
    call('LREM', P .. 'suspect', 1, id)
  elseif call('EXISTS', waiting) == 0 then
    call('LREM', P .. 'ring', 1, tenant)
  end
end

local function read(id)
  local h = call('HMGET', P .. 'req:' .. id, 'state', 'attempt', 'seq', 'tenant', 'conv', 'idem', 'bytes',
    'owner', 'crashes', 'n', 'kept', 'policy', 'model', 'reason', 'retries')
  return { id = id, state = h[1], attempt = h[2], seq = tonumber(h[3] or 0), tenant = h[4],
    conv = h[5] or '', idem = h[6] or '', bytes = tonumber(h[7] or 0), owner = h[8] or '',
    crashes = tonumber(h[9] or 0), n = tonumber(h[10] or 0), kept = h[11], policy = h[12],
    model = h[13] or '', reason = h[14] or 'null', retries = h[15] or '0' }
end

local function is_over(state) return state == 'completed' or state == 'failed' or state == 'cancelled' end

local function nudge_owner(r)
  local worker = string.match(r.owner, '^(.*):')
  if r.state == 'running' and worker then call('SPUBLISH', P .. 'push:worker:' .. worker, r.id) end
end

-- The conversation goes on with the next held request, or falls idle and starts to age.
local function next_of_conversation(conv, conv_ttl_s)
  local key = P .. 'conv:' .. conv
  local id = call('LPOP', key .. ':wait')
  while id do
    local h = call('HMGET', P .. 'req:' .. id, 'state', 'tenant')
    if h[1] == 'held' then
      call('HSET', key, 'active', id)
      call('HSET', P .. 'req:' .. id, 'state', 'queued')
      enqueue(id, h[2], false)
      return
    end
    id = call('LPOP', key .. ':wait')
  end
  call('HDEL', key, 'active')
  call('HSET', key, 'idle', int(now))
  call('EXPIRE', key, conv_ttl_s)
  call('EXPIRE', key .. ':turns', conv_ttl_s)
end

local function leave_tenant(r, keep_s)
  call('SREM', P .. 'tenant:' .. r.tenant, r.id)
  call('ZADD', P .. 'expiry:' .. r.tenant, int(now + keep_s * 1000), r.id)
  if call('EXISTS', P .. 'tenant:' .. r.tenant) == 0 then
    call('EXPIRE', P .. 'index:' .. r.tenant, keep_s)
    call('EXPIRE', P .. 'expiry:' .. r.tenant, keep_s)
  end
end

-- The row of an answer. `answered` is JSON text always: processes of version 0.1 know no other field.
local function add_answer(r, answered, state, called)
  if r.conv == '' then return end
  local row = { P .. 'conv:' .. r.conv .. ':turns', '*', 'id', r.id, 'answered', answered, 'status', state }
  if called ~= '' then row[#row + 1], row[#row + 2] = 'called', called end
  call('HSET', P .. 'req:' .. r.id, 'answered', call('XADD', unpack(row)))
end

-- The text of the output that readers see. Of an endless answer only the last entries are read, since
-- all other requests wait meanwhile: 1 to 2 ms for 1000 entries.
local READ_AT_END = 16384
local function text_so_far(r)
  local first = r.kept == '1' and '-' or r.attempt .. '-0'
  local texts = {}
  for _, entry in ipairs(call('XREVRANGE', P .. 'log:' .. r.id, '+', first, 'COUNT', READ_AT_END)) do
    local value = entry[2][2]
    local kind = string.sub(value, 1, 1)
    if kind == 'd' or kind == 'u' then texts[#texts + 1] = string.sub(value, 2)
    elseif kind == 'D' or kind == 'U' then texts[#texts + 1] = cjson.decode(string.sub(value, 2)).text
    elseif kind == 'S' or kind == 'Z' then break end
  end
  for i = 1, math.floor(#texts / 2) do texts[i], texts[#texts + 1 - i] = texts[#texts + 1 - i], texts[i] end
  return table.concat(texts)
end

-- An answer that was stopped or failed is remembered as far as it was said. It is read here, in the
-- step that ends it, since the log expires before its conversation and no worker may be alive. A
-- stop before the first word is remembered, too: the question was asked, and the stop is what it got.
local function remember_unfinished(r, state)
  if r.conv == '' or state == 'completed' then return end
  local text = text_so_far(r)
  if text == '' and state == 'cancelled' then text = '[stopped]' end
  if text ~= '' then add_answer(r, cjson.encode(text), state, '') end
end

-- The one place where a request ends. `value` is the terminal entry; with `in_conversation_change`
-- the caller itself decides what the conversation does next.
local function over(r, state, value, keep_s, conv_ttl_s, in_conversation_change)
  drop_strangers(r)
  remember_unfinished(r, state)
  r.seq = r.seq + 1
  put(r.id, r.attempt .. '-' .. int(r.seq), value)
  local key = P .. 'req:' .. r.id
  call('HSET', key, 'state', state, 'seq', int(r.seq), 'ended', int(now))
  call('HDEL', key, 'waiting')
  if r.state == 'running' then call('ZREM', P .. 'running', r.id)
  elseif r.state == 'delayed' then call('ZREM', P .. 'delayed', r.id)
  elseif r.state == 'queued' then unqueue(r.id, r.tenant)
  elseif r.state == 'held' then call('LREM', P .. 'conv:' .. r.conv .. ':wait', 1, r.id) end
  call('HINCRBY', P .. 'load', 'count', -1)
  call('HINCRBY', P .. 'load', 'bytes', -r.bytes)
  leave_tenant(r, keep_s)
  call('HDEL', key, 'payload')
  call('EXPIRE', key, keep_s)
  call('EXPIRE', P .. 'log:' .. r.id, keep_s)
  if r.idem ~= '' then call('EXPIRE', P .. 'idem:' .. r.idem, keep_s) end
  if r.conv ~= '' and r.state ~= 'held' and not in_conversation_change then
    next_of_conversation(r.conv, conv_ttl_s)
  end
  r.state = state
end

-- A poison request is kept for longer than its key, which may be another request's by then.
local function delete_idempotency_key(idem, id)
  local known = idem ~= '' and call('GET', P .. 'idem:' .. idem)
  if known and string.match(known, '|([^|]*)$') == id then call('DEL', P .. 'idem:' .. idem) end
end

-- Begin a new attempt of a request that nobody runs; nil when its policy forbids that.
local function open(r, can_continue, owner, lease_ms, default_model)
  local has_output = r.kept == '1' or (r.n > 0 and r.seq > 0)
  local kind, letter, kept = 'started', 'S', '0'
  if has_output then
    if r.policy == 'restart' then kind, letter = 'reset', 'Z'
    elseif r.policy == 'continue' and can_continue == '1' then kind, letter, kept = 'resumed', 'K', '1'
    else return nil end
  end
  drop_strangers(r)
  local key = P .. 'req:' .. r.id
  local prev = r.attempt .. '-' .. int(r.seq)
  local attempt = int(math.max(tonumber(r.attempt) + 1, now))
  local n = r.n + 1
  call('HSET', key, 'state', 'running', 'attempt', attempt, 'n', n, 'seq', '0', 'kept', kept, 'owner', owner,
    'opener', kind, 'prev', prev)
  if kept == '0' then call('HSET', key, 'output_bytes', 0) end
  call('ZADD', P .. 'running', int(now + lease_ms), r.id)
  local model = r.model ~= '' and r.model or default_model
  local json = '{"v":1,"prev":"' .. prev .. '","n":' .. n .. ',"model":' .. model
  if has_output then json = json .. ',"reason":' .. r.reason end
  put(r.id, attempt .. '-0', letter .. json .. '}')
  return attempt, n, kind, prev
end

