-- How an attempt begins, and how a request ends: functions that scripts share, behind those of prefix.lua.
-- Invariants kept by these functions:
--   the terminal is the last entry of a log;
--   a log that ends, or continues with another attempt, holds only entries that its hash counts;
--   no entry gets the id of an entry that a reader may have and that Redis has lost.
local INTERRUPTED = 'F{"code":"interrupted","message":"The answer was cut off and may not be started again.","retryable":true}'

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

-- The replication ID of this server: another one after each start, and after each promotion of a replica. Writes
-- just before that may be lost. Empty for an account without the right to INFO.
local function current_replid()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
end

-- The replication ID as it was at most KNOWN_MS ago, if `known` is what `note_seen` has read. An earlier one does no
-- harm: `leave_lost_ids` then begins an attempt without need.
local KNOWN_MS = 250
local function recent_replid(known)
  if not known then return current_replid() end
  local age_ms = now - known.at
  if known.replid and age_ms >= 0 and age_ms < KNOWN_MS then return known.replid end
  local replid = current_replid()
  call('HSET', P .. 'load', 'replid', replid, 'replid_at', int(now))
  return replid
end

-- Begin an attempt: its number is larger than that of any other, and its first entry names the entry before it.
-- `more` is the end of that entry's JSON. The text so far is kept if `kept` is '1'. `changes` are other fields and values
-- that change in the same step.
local function append_opener(r, kind, letter, kept, model, more, changes, known)
  local prev = r.attempt .. '-' .. int(r.seq)
  local attempt, n = int(math.max(tonumber(r.attempt) + 1, now)), r.n + 1
  call('HSET', P .. 'req:' .. r.id, 'attempt', attempt, 'n', n, 'seq', '0', 'kept', kept, 'opener', kind,
    'prev', prev, 'replid', recent_replid(known), unpack(changes or {}))
  -- The state comes first: a log that cannot be read ends the script here, and the request must not be lost.
  drop_foreign_entries(r)
  local json = '{"v":1,"prev":"' .. prev .. '","n":' .. n .. ',"model":' .. model .. more .. '}'
  append_entry(r.id, attempt .. '-0', letter .. json)
  r.attempt, r.n, r.seq, r.kept = attempt, n, 0, kept
  return prev
end

-- The answer that an upstream keeps, or nil (mark.lua). `entries` counts those of its attempts before the last one.
local function read_attached(r)
  local is_json, attached = pcall(cjson.decode, r.attached or '')
  if not is_json or type(attached) ~= 'table' or type(attached.upstream) ~= 'string' then return nil end
  attached.entries = attached.entries or 0
  return attached
end

-- Record an estimate if nothing is reported: an entry is mostly one delta, and a delta mostly one token. While an upstream
-- keeps the answer, no attempt has a usage, because the one that reads the end reports all of it.
local function estimate_usage(r)
  local tokens = int(r.seq + (read_attached(r) or { entries = 0 }).entries)
  if tokens == '0' then return end
  call('HSETNX', P .. 'req:' .. r.id, 'usage:' .. r.attempt, '{"completion_tokens":' .. tokens .. ',"estimated":true}')
end

-- Read on in the next attempt if its upstreams, `keeps`, have the one that keeps the answer. Otherwise nobody reads on
-- later, because the log then has other text. Returns whether the next attempt reads on.
local function pass_answer_on(r, keeps)
  if not r.attached then return false end
  local attached = read_attached(r)
  if attached and string.find(' ' .. keeps .. ' ', ' ' .. attached.upstream .. ' ', 1, true) then
    attached.entries = attached.entries + r.seq
    call('HSET', P .. 'req:' .. r.id, 'attached', cjson.encode(attached))
    return true
  end
  estimate_usage(r)
  call('HDEL', P .. 'req:' .. r.id, 'attached')
  r.attached = nil
  return false
end

-- Open a new attempt of a request that is not running. Returns nil when the policy forbids a new attempt.
-- An answer that a draining worker handed over has not broken off, so it is continued under the policy `restart` too.
-- A function whose log ends with its checkpoint goes on from there, whatever the caller can continue. An answer that its
-- upstream keeps has not broken off either, and a caller that has this upstream reads on.
local function open_attempt(r, can_continue, keeps, owner, lease_ms, default_model, known)
  local has_output = r.kept == '1' or (r.n > 0 and r.seq > 0)
  local kind, letter, kept = 'started', 'S', '0'
  local reads_on = pass_answer_on(r, keeps)
  local is_at_checkpoint = r.checkpoint_at == r.attempt .. '-' .. int(r.seq) and r.policy ~= 'fail'
  if has_output or (r.policy == 'fail' and r.begun) then
    local continues = r.policy == 'continue' or (r.policy == 'restart' and r.reason == '"worker_drained"')
    if is_at_checkpoint or reads_on or (continues and can_continue == '1') then kind, letter, kept = 'resumed', 'K', '1'
    elseif r.policy == 'restart' then kind, letter = 'reset', 'Z'
    else return nil end
  end
  if r.state ~= 'running' then count_of_tenant('busy', r.tenant, 1) end
  call('ZADD', P .. 'running', int(now + lease_ms), r.id)
  local changes = { 'state', 'running', 'owner', owner }
  if kept == '0' then changes[5], changes[6] = 'output_bytes', 0 end
  local model = r.model ~= '' and r.model or default_model
  local prev = append_opener(r, kind, letter, kept, model, has_output and ',"reason":' .. r.reason or '', changes, known)
  if is_at_checkpoint then call('HSET', P .. 'req:' .. r.id, 'checkpoint_at', r.attempt .. '-0') end
  return r.attempt, r.n, kind, prev
end

-- A promoted replica may lack the last entries of a log. If the terminal got the id of one of them, a reader that
-- has that entry would never get the terminal. So the terminal of such a log is in an attempt of its own.
local function leave_lost_ids(r)
  if not r.replid or r.replid == '' then return end
  local replid = current_replid()
  if replid == '' or r.replid == replid then return end
  append_opener(r, 'resumed', 'K', '1', r.model ~= '' and r.model or 'null', ',"reason":"log_lost"')
end

-- How long a request is kept: at most as long as its conversation.
local function retention_of(r, retention_s)
  local kept_s = shorter_s(r.keep_s, retention_s)
  if r.conversation == '' then return kept_s end
  return shorter_s(call('HGET', P .. 'conv:' .. r.conversation, 'keep'), kept_s)
end

-- Queue the next held request of a conversation, or let an idle conversation start to age.
local function advance_conversation(conversation, conversation_ttl_s)
  local conversation_key = P .. 'conv:' .. conversation
  local id = call('LPOP', conversation_key .. ':wait')
  while id do
    local h = call('HMGET', P .. 'req:' .. id, 'state', 'tenant', 'pool')
    if h[1] == 'held' then
      call('HSET', conversation_key, 'active', id)
      call('HSET', P .. 'req:' .. id, 'state', 'queued')
      enqueue(id, h[2], h[3] or '', false)
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
  r.answer_bytes = #answered + #called
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

-- List a request for compaction, if its log has enough entries. Without a process that compacts, the oldest ones
-- are dropped; their logs expire as they are.
local LEAST_ENTRIES, MOST_UNCOMPACTED = 16, 100000
local function list_uncompacted(r)
  if r.seq < LEAST_ENTRIES then return end
  call('ZADD', P .. 'uncompacted', int(now), r.id)
  call('ZREMRANGEBYRANK', P .. 'uncompacted', 0, -MOST_UNCOMPACTED - 1)
end

-- Requests whose limits are counted in another partition; a worker settles them there. Without a worker, the oldest
-- ones stay as they were reserved.
local MOST_UNSETTLED = 100000

-- What is kept of a request that is over. The first number stands for its names, its fields and its terminal.
local REQUEST_BYTES = 512
local function bytes_after_end(r) return REQUEST_BYTES + (r.logged or r.bytes) + r.output end

-- Count the rows of a turn that has ended, and all earlier ones, until the conversation expires. Old rows of a long
-- conversation are dropped by their number, and their bytes are not known any more.
local function count_turns(r, conversation_ttl_s)
  local key = P .. 'conv:' .. r.conversation
  if call('EXISTS', key) == 0 then return end
  local h = call('HMGET', key, 'keep', 'rows')
  local bytes, rows = uncount_kept(key) + r.asks + r.answer_bytes, tonumber(h[2] or 0) + (r.answer_bytes > 0 and 2 or 1)
  local left = call('XLEN', key .. ':turns')
  if rows > left then bytes, rows = math.ceil(bytes * left / rows), left end
  call('HSET', key, 'rows', rows)
  count_kept(key, r.tenant, bytes, shorter_s(h[1], conversation_ttl_s))
end

-- List a request that ends for each consumer that its submit has named, until `tickertape deliver` has handed it on. What
-- nobody hands on stays within a limit: 100,000 requests of a partition, and for the history the bytes that the submit
-- has named. Beyond that a request is not listed, and is counted as lost. So a consumer whose receiver is away for long
-- loses the newest requests of its own, and another consumer loses nothing.
-- The history needs what was asked and answered, so `record:` keeps the fields of the request, with its prompt, and the
-- log is kept as long. Returns how long the log must be kept.
local MOST_LISTED, MOST_HELD_S = 100000, 604800
local function list_for_consumers(r, state, terminal)
  call('HDEL', P .. 'req:' .. r.id, 'waiting')
  local held_s, head = 0, call('HGET', P .. 'req:' .. r.id, 'head') or ''
  -- The head begins with the wire. A text of a caller comes behind it.
  local wire = string.match(head, '^{"wire":"([%w_]+)"') or ''
  for consumer, limit in string.gmatch(r.outbox, '(%a+)=(%d+)') do
    local outbox, bytes = P .. 'outbox:' .. consumer, 0
    if consumer == 'history' then bytes = REQUEST_BYTES + r.bytes + r.output end
    local listed = tonumber(call('HGET', P .. 'outboxed', 'bytes:' .. consumer) or 0)
    if call('XLEN', outbox) >= MOST_LISTED or listed + bytes > tonumber(limit) then
      call('HINCRBY', P .. 'outboxed', 'lost:' .. consumer, 1)
    else
      call('XADD', outbox, '*', 'id', r.id, 'tenant', r.tenant, 'state', state, 'end', terminal, 'wire', wire, 'bytes', int(bytes))
      if bytes > 0 then
        call('HINCRBY', P .. 'outboxed', 'bytes:' .. consumer, int(bytes))
        call('HSET', P .. 'record:' .. r.id, unpack(call('HGETALL', P .. 'req:' .. r.id)))
        call('EXPIRE', P .. 'record:' .. r.id, MOST_HELD_S)
        held_s = MOST_HELD_S
      end
    end
  end
  return held_s
end

-- The one place where a request ends. `terminal` is the value of the last entry. A caller that passes
-- `keeps_conversation` decides itself which request of the conversation comes next.
local function end_request(r, state, terminal, retention_s, conversation_ttl_s, keeps_conversation)
  if not r.has_own_entries then drop_foreign_entries(r) end
  if r.attached and r.state ~= 'running' then estimate_usage(r) end
  leave_lost_ids(r)
  remember_partial_answer(r, state)
  r.seq = r.seq + 1
  append_entry(r.id, r.attempt .. '-' .. int(r.seq), terminal)
  local request = P .. 'req:' .. r.id
  call('HSET', request, 'state', state, 'seq', int(r.seq), 'ended', int(now))
  if r.state == 'running' then leave_running(r)
  elseif r.state == 'delayed' then call('ZREM', P .. 'delayed', r.id)
  elseif r.state == 'queued' then remove_from_queue(r)
  elseif r.state == 'held' then call('LREM', P .. 'conv:' .. r.conversation .. ':wait', 1, r.id) end
  call('HINCRBY', P .. 'load', 'count', -1)
  call('HINCRBY', P .. 'load', 'bytes', -r.bytes)
  count_of_tenant('owed', r.tenant, -r.bytes)
  if is_user(r.tenant) then count_of_tenant('crowd', r.tenant, -1) end
  if r.rates ~= '' then
    -- Where the upstream reported no usage, an entry is taken for a token. A request that never ran has used none.
    local input, output = r.used_input or r.input, r.used_output or r.seq
    if r.n == 0 then input, output = 0, 0 end
    if r.home == '' then
      settle_rates(P, r.rates, input, output, now)
    else
      call('XADD', P .. 'unsettled', 'MAXLEN', '~', MOST_UNSETTLED, '*', 'home', r.home, 'rates', r.rates,
        'input', int(input), 'output', int(output))
    end
  end
  local kept_s = retention_of(r, retention_s)
  release_tenant(r, kept_s, retention_s, conversation_ttl_s)
  local held_s = r.outbox == '' and 0 or list_for_consumers(r, state, terminal)
  call('HDEL', request, 'payload', 'checkpoint', 'checkpoint_at', 'attached', 'waiting')
  call('EXPIRE', request, kept_s)
  call('EXPIRE', P .. 'log:' .. r.id, math.max(kept_s, held_s))
  list_uncompacted(r)
  if r.idempotency ~= '' then call('EXPIRE', P .. 'idem:' .. r.idempotency, kept_s) end
  if r.conversation ~= '' and r.state ~= 'held' and not keeps_conversation then
    advance_conversation(r.conversation, conversation_ttl_s)
  end
  count_kept(request, r.tenant, bytes_after_end(r), kept_s, not r.stored)
  if r.conversation ~= '' then count_turns(r, conversation_ttl_s) end
  r.state = state
end

