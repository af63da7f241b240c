-- Functions that scripts share. A script names this file under NEEDS, and the loader puts it in front.
-- KEYS[1] is any key of the partition: all others are built from its hash tag, so they share its slot.
-- Invariants kept by these functions:
--   a tenant stands in the ring exactly once if and only if its waiting list is not empty;
--   a request is in exactly one of waiting list, suspect list, newer, held list, delayed, running, or is over;
--   a request that was suspect once waits nowhere but in the suspect list, and in newer;
--   an entry is never written without being published; the terminal is the last entry of a log;
--   a log that ends, or continues with another attempt, holds only entries that its hash counts;
--   no entry gets the id of an entry that a reader may have and that Redis has lost.
local call = redis.call
local P = string.match(KEYS[1], '^{[^}]*}:')
local refused = refusals(P, RIGHTS, 1)[1]
if refused then return redis.error_reply('NOPERM this account may not run ' .. refused) end

-- While an operator moves the slot of this partition key by key, a missing key may be at the other node. Redis
-- then refuses commands for missing keys, which would leave half of a change behind. So a command for two keys
-- that never exist asks whether the slot is whole, before anything is changed. The caller calls again.
local whole = redis.pcall('EXISTS', P .. 'never:1', P .. 'never:2')
if type(whole) == 'table' then return redis.error_reply('TRYAGAIN the slot of this partition is moving') end

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local WAKE_LIMIT = 64
local INTERRUPTED = 'F{"code":"interrupted","message":"The answer was cut off and may not be started again.","retryable":true}'

-- Lua would print a large number as 1.7e+12.
local function int(x) return string.format('%.0f', x) end

local function append_entry(id, entry_id, value)
  call('XADD', P .. 'log:' .. id, entry_id, 'e', value)
  call('SPUBLISH', P .. 'push:' .. id, entry_id .. '\n' .. #value .. ':' .. value)
end

-- A client that ignores the fence can add an entry with a larger id, and Redis then refuses every id of the
-- attempt. That error inside a claim would stop each claim that reaps this request, and with it the whole
-- partition; readers would wait at the gap before the foreign entry. Redis does not lower the last id of a
-- stream, so the log is written again without the foreign entries.
local function drop_foreign_entries(r)
  local log, last = P .. 'log:' .. r.id, r.attempt .. '-' .. int(r.seq)
  if #call('XRANGE', log, '(' .. last, '+', 'COUNT', 1) == 0 then return end
  local counted = call('XRANGE', log, '-', last)
  call('DEL', log)
  for _, entry in ipairs(counted) do call('XADD', log, entry[1], 'e', entry[2][2]) end
end

-- A notice goes to the readers that are connected now, and is not stored.
local function publish_notice(id, kind, json)
  call('SPUBLISH', P .. 'push:' .. id, '~' .. kind .. '\n' .. json)
end

-- Wake the worker that has been idle for the longest time, except `itself`; returns whether a connected worker
-- was woken. A worker that died or lost its connection has no subscription, and the next one is woken.
local MOST_WAKES = 100
local function wake_idle_worker(itself)
  for _ = 1, MOST_WAKES do
    local worker = call('ZPOPMIN', P .. 'idle')[1]
    if not worker then return false end
    if worker ~= itself and call('SPUBLISH', P .. 'push:worker:' .. worker, 'wake') > 0 then return true end
  end
  return false
end

-- Workers of version 0.1 block on the tokens. They are asked last, because nobody can see whether one waits.
local function wake_worker()
  if wake_idle_worker() then return end
  if call('LLEN', P .. 'wake') < WAKE_LIMIT then call('LPUSH', P .. 'wake', '1') end
end

-- Put a request into its tenant's waiting list, or into the suspect list. `to_head` puts the request at the
-- head of that list; `turn_now` gives the tenant the next turn if it had nothing waiting.
local function enqueue(id, tenant, to_head, turn_now)
  local push = to_head and 'LPUSH' or 'RPUSH'
  if call('HEXISTS', P .. 'req:' .. id, 'suspect') == 1 then
    call(push, P .. 'suspect', id)
  elseif call(push, P .. 'wait:' .. tenant, id) == 1 then
    call(turn_now and 'LPUSH' or 'RPUSH', P .. 'ring', tenant)
  end
  wake_worker()
end

local function remove_from_queue(id, tenant)
  local waiting = P .. 'wait:' .. tenant
  if call('LREM', waiting, 1, id) == 0 then
    call('LREM', P .. 'suspect', 1, id)
    call('ZREM', P .. 'newer', id)
  elseif call('EXISTS', waiting) == 0 then
    call('LREM', P .. 'ring', 1, tenant)
  end
end

local function read_request(id)
  local h = call('HMGET', P .. 'req:' .. id, 'state', 'attempt', 'seq', 'tenant', 'conv', 'idem', 'bytes',
    'owner', 'crashes', 'n', 'kept', 'policy', 'model', 'reason', 'format', 'replid')
  return { id = id, state = h[1], attempt = h[2], seq = tonumber(h[3] or 0), tenant = h[4],
    conversation = h[5] or '', idempotency = h[6] or '', bytes = tonumber(h[7] or 0), owner = h[8] or '',
    crashes = tonumber(h[9] or 0), n = tonumber(h[10] or 0), kept = h[11], policy = h[12],
    model = h[13] or '', reason = h[14] or 'null', format = tonumber(h[15] or 1), replid = h[16] }
end

-- The replication ID of this server: another one after each start, and after each promotion of a replica. Writes
-- just before that may be lost. Empty for an account without the right to INFO.
local function current_replid()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
end

-- Record that Redis serves workers now, and return the time before which no lease is reaped.
-- A gap since the last record means that Redis itself was away, and a lease that ran out during the outage
-- does not show that its worker died. All workers get the time of one lease to renew, but not twice in a row:
-- slow workers would otherwise delay each takeover without limit. `reachable_ms` is for how long the calling
-- worker has had an answer from this server at least every half lease: in that time, there was no gap.
-- Leases differ while a new one is rolled out, so all workers get the longest one that was in use before the gap.
local MAX_LEASE_MS = 900000
local function note_seen(lease_ms, reachable_ms)
  local seen = call('HMGET', P .. 'load', 'seen', 'grace', 'late', 'lease', 'lease_seen')
  local grace = tonumber(seen[2] or 0)
  -- No lease is this long. A later end means that the clock was set back, and would not come.
  if grace > now + MAX_LEASE_MS then grace = 0 end
  local longest_ms, longest_seen = tonumber(seen[4] or 0), tonumber(seen[5] or 0)
  local is_unused = tonumber(seen[1] or now) - longest_seen > longest_ms
  if lease_ms >= longest_ms or is_unused then longest_ms, longest_seen = lease_ms, now end
  local gap_ms = seen[1] and now - reachable_ms - tonumber(seen[1]) or 0
  local is_late = gap_ms > math.max(lease_ms / 2, 1500)
  if is_late and seen[3] ~= '1' then grace = now + longest_ms end
  call('HSET', P .. 'load', 'seen', int(now), 'grace', int(grace), 'late', is_late and 1 or 0,
    'lease', int(longest_ms), 'lease_seen', int(longest_seen))
  return grace
end

local function is_over(state) return state == 'completed' or state == 'failed' or state == 'cancelled' end

-- Let the worker that runs a request close its upstream.
local function notify_owner(r)
  local worker = string.match(r.owner, '^(.*):')
  if r.state == 'running' and worker then call('SPUBLISH', P .. 'push:worker:' .. worker, r.id) end
end

-- The time for which something is kept: at most what the settings say.
local function shorter_s(keep_s, setting_s) return math.min(tonumber(keep_s or setting_s), setting_s) end

-- How long a request is kept: at most as long as its conversation.
local function retention_of(r, retention_s)
  local kept_s = shorter_s(call('HGET', P .. 'req:' .. r.id, 'keep'), retention_s)
  if r.conversation == '' then return kept_s end
  return shorter_s(call('HGET', P .. 'conv:' .. r.conversation, 'keep'), kept_s)
end

-- Queue the next held request of a conversation, or let an idle conversation start to age.
local function advance_conversation(conversation, conversation_ttl_s)
  local conversation_key = P .. 'conv:' .. conversation
  local id = call('LPOP', conversation_key .. ':wait')
  while id do
    local h = call('HMGET', P .. 'req:' .. id, 'state', 'tenant')
    if h[1] == 'held' then
      call('HSET', conversation_key, 'active', id)
      call('HSET', P .. 'req:' .. id, 'state', 'queued')
      enqueue(id, h[2], false)
      return
    end
    id = call('LPOP', conversation_key .. ':wait')
  end
  call('HDEL', conversation_key, 'active')
  call('HSET', conversation_key, 'idle', int(now))
  local conversation_ttl_s = shorter_s(call('HGET', conversation_key, 'keep'), conversation_ttl_s)
  call('EXPIRE', conversation_key, conversation_ttl_s)
  call('EXPIRE', conversation_key .. ':turns', conversation_ttl_s)
end

-- Let what is listed of a tenant without unfinished requests start to age.
local function age_tenant(tenant, retention_s, conversation_ttl_s)
  call('SREM', P .. 'tenants', tenant)
  call('EXPIRE', P .. 'index:' .. tenant, retention_s)
  call('EXPIRE', P .. 'expiry:' .. tenant, retention_s)
  call('EXPIRE', P .. 'convs:' .. tenant, conversation_ttl_s)
end

-- Stop counting a request against its tenant, and list the time at which the request expires.
local function release_tenant(r, kept_s, retention_s, conversation_ttl_s)
  call('SREM', P .. 'tenant:' .. r.tenant, r.id)
  call('ZADD', P .. 'expiry:' .. r.tenant, int(now + kept_s * 1000), r.id)
  if call('EXISTS', P .. 'tenant:' .. r.tenant) == 0 then age_tenant(r.tenant, retention_s, conversation_ttl_s) end
end

-- Add the row of an answer. `answered` is always JSON text, because processes of version 0.1 read no other
-- field.
local function add_answer(r, answered, state, called)
  if r.conversation == '' then return end
  local row = { P .. 'conv:' .. r.conversation .. ':turns', '*', 'id', r.id, 'answered', answered, 'status', state }
  if called ~= '' then row[#row + 1], row[#row + 2] = 'called', called end
  call('HSET', P .. 'req:' .. r.id, 'answered', call('XADD', unpack(row)))
end

-- The text that readers of the log see. Redis serves nobody else while a script runs, so only the last
-- entries of a very long answer are read: 1000 entries take 1 to 2 ms.
local MAX_ENTRIES_READ = 16384
local function read_output_text(r)
  local first = r.kept == '1' and '-' or r.attempt .. '-0'
  local texts = {}
  for _, entry in ipairs(call('XREVRANGE', P .. 'log:' .. r.id, '+', first, 'COUNT', MAX_ENTRIES_READ)) do
    local value = entry[2][2]
    local kind = string.sub(value, 1, 1)
    if kind == 'd' or kind == 'u' then texts[#texts + 1] = string.sub(value, 2)
    elseif kind == 'D' or kind == 'U' then texts[#texts + 1] = cjson.decode(string.sub(value, 2)).text
    elseif kind == 'S' or kind == 'Z' then break end
  end
  for i = 1, math.floor(#texts / 2) do texts[i], texts[#texts + 1 - i] = texts[#texts + 1 - i], texts[i] end
  return table.concat(texts)
end

-- The conversation remembers a stopped or failed answer up to its last entry. The text is read from the log
-- in the step that ends the request, because the log expires before the conversation and no worker may be
-- alive. A stop before the first word is remembered as well: the question was asked, and the stop is its
-- answer.
local function remember_partial_answer(r, state)
  if r.conversation == '' or state == 'completed' then return end
  local text = read_output_text(r)
  if text == '' and state == 'cancelled' then text = '[stopped]' end
  if text ~= '' then add_answer(r, cjson.encode(text), state, '') end
end

-- Begin an attempt: its number is larger than that of any other, and its first entry names the entry before it.
-- `more` is the end of that entry's JSON. The text so far is kept if `kept` is '1'.
local function append_opener(r, kind, letter, kept, model, more)
  drop_foreign_entries(r)
  local prev = r.attempt .. '-' .. int(r.seq)
  local attempt, n = int(math.max(tonumber(r.attempt) + 1, now)), r.n + 1
  call('HSET', P .. 'req:' .. r.id, 'attempt', attempt, 'n', n, 'seq', '0', 'kept', kept, 'opener', kind,
    'prev', prev, 'replid', current_replid())
  local json = '{"v":1,"prev":"' .. prev .. '","n":' .. n .. ',"model":' .. model .. more .. '}'
  append_entry(r.id, attempt .. '-0', letter .. json)
  r.attempt, r.n, r.seq, r.kept = attempt, n, 0, kept
  return prev
end

-- A promoted replica may lack the last entries of a log. If the terminal got the id of one of them, a reader that
-- has that entry would never get the terminal. So the terminal of such a log is in an attempt of its own.
local function leave_lost_ids(r)
  if not r.replid or r.replid == current_replid() then return end
  append_opener(r, 'resumed', 'K', '1', r.model ~= '' and r.model or 'null', ',"reason":"log_lost"')
end

-- List a request for compaction, if its log has enough entries. Without a process that compacts, the oldest ones
-- are dropped; their logs expire as they are.
local LEAST_ENTRIES, MOST_UNCOMPACTED = 16, 100000
local function list_uncompacted(r)
  if r.seq < LEAST_ENTRIES then return end
  call('ZADD', P .. 'uncompacted', int(now), r.id)
  call('ZREMRANGEBYRANK', P .. 'uncompacted', 0, -MOST_UNCOMPACTED - 1)
end

-- The one place where a request ends. `terminal` is the value of the last entry. A caller that passes
-- `keeps_conversation` decides itself which request of the conversation comes next.
local function end_request(r, state, terminal, retention_s, conversation_ttl_s, keeps_conversation)
  drop_foreign_entries(r)
  leave_lost_ids(r)
  remember_partial_answer(r, state)
  r.seq = r.seq + 1
  append_entry(r.id, r.attempt .. '-' .. int(r.seq), terminal)
  local request = P .. 'req:' .. r.id
  call('HSET', request, 'state', state, 'seq', int(r.seq), 'ended', int(now))
  call('HDEL', request, 'waiting')
  if r.state == 'running' then call('ZREM', P .. 'running', r.id)
  elseif r.state == 'delayed' then call('ZREM', P .. 'delayed', r.id)
  elseif r.state == 'queued' then remove_from_queue(r.id, r.tenant)
  elseif r.state == 'held' then call('LREM', P .. 'conv:' .. r.conversation .. ':wait', 1, r.id) end
  call('HINCRBY', P .. 'load', 'count', -1)
  call('HINCRBY', P .. 'load', 'bytes', -r.bytes)
  local kept_s = retention_of(r, retention_s)
  release_tenant(r, kept_s, retention_s, conversation_ttl_s)
  call('HDEL', request, 'payload')
  call('EXPIRE', request, kept_s)
  call('EXPIRE', P .. 'log:' .. r.id, kept_s)
  list_uncompacted(r)
  if r.idempotency ~= '' then call('EXPIRE', P .. 'idem:' .. r.idempotency, kept_s) end
  if r.conversation ~= '' and r.state ~= 'held' and not keeps_conversation then
    advance_conversation(r.conversation, conversation_ttl_s)
  end
  r.state = state
end

-- Delete the idempotency key unless it names another request: a poison request outlives its key, and a
-- newer request may have reused the key.
local function delete_idempotency_key(idempotency, id)
  local known = idempotency ~= '' and call('GET', P .. 'idem:' .. idempotency)
  if known and string.match(known, '|([^|]*)$') == id then call('DEL', P .. 'idem:' .. idempotency) end
end

-- Neither the title nor the variables in the list of conversations outlive the turn that they were made of. A user's
-- title names no turn, and stays. The first question that is left and has words gives another title: the title is a field
-- of its row, and few rows are read, because rows may have megabytes.
local MOST_ROWS_READ = 16
local function erase_summary(conversation_key, id, asked)
  local known = call('HMGET', conversation_key, 'title_of', 'summary_of', 'summary')
  if known[2] == id then
    local summary = cjson.decode(known[3])
    summary.variables = nil
    call('HSET', conversation_key, 'summary', cjson.encode(summary))
    call('HDEL', conversation_key, 'summary_of')
  end
  if known[1] ~= id then return end
  call('HDEL', conversation_key, 'title', 'title_of', 'title_by')
  local last = '-'
  for _ = 1, MOST_ROWS_READ do
    local row = call('XRANGE', conversation_key .. ':turns', last, '+', 'COUNT', 1)[1]
    if not row then return end
    last = '(' .. row[1]
    for i = 1, #row[2], 2 do
      if row[2][i] == 'title' and row[1] ~= asked then
        call('HSET', conversation_key, 'title', row[2][i + 1], 'title_of', row[2][2])
        return
      end
    end
  end
end

-- Erase the rows of a turn, and keep its place in the tree of turns, because later turns may follow it. Processes
-- of version 0.1 read the row of the place as the answer of no question.
local function erase_turn(conversation, id, asked, answered)
  local conversation_key = P .. 'conv:' .. conversation
  local turns = conversation_key .. ':turns'
  erase_summary(conversation_key, id, asked)
  if answered ~= '' then call('XDEL', turns, answered) end
  local question = asked ~= '' and call('XRANGE', turns, asked, asked)[1]
  if not question or question[2][2] ~= id then return end
  local place = { turns, '*', 'id', id, 'answered', '""', 'erased', asked }
  for i = 1, #question[2], 2 do
    if question[2][i] == 'links' then place[#place + 1], place[#place + 2] = 'links', question[2][i + 1] end
  end
  call('XDEL', turns, asked)
  call('XADD', unpack(place))
  if call('HEXISTS', conversation_key, 'turns') == 1 then call('HINCRBY', conversation_key, 'turns', -1) end
  call('SPUBLISH', P .. 'push:conv:' .. conversation, '')
end

-- Open a new attempt of a request that is not running. Returns nil when the policy forbids a new attempt.
local function open_attempt(r, can_continue, owner, lease_ms, default_model)
  local has_output = r.kept == '1' or (r.n > 0 and r.seq > 0)
  local kind, letter, kept = 'started', 'S', '0'
  if has_output then
    if r.policy == 'restart' then kind, letter = 'reset', 'Z'
    elseif r.policy == 'continue' and can_continue == '1' then kind, letter, kept = 'resumed', 'K', '1'
    else return nil end
  end
  local request = P .. 'req:' .. r.id
  call('HSET', request, 'state', 'running', 'owner', owner)
  if kept == '0' then call('HSET', request, 'output_bytes', 0) end
  call('ZADD', P .. 'running', int(now + lease_ms), r.id)
  local model = r.model ~= '' and r.model or default_model
  local prev = append_opener(r, kind, letter, kept, model, has_output and ',"reason":' .. r.reason or '')
  return r.attempt, r.n, kind, prev
end

