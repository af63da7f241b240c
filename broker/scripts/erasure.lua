-- How the parts of a request are erased: functions that scripts share, behind those of prefix.lua.

-- Count an erasure, because the append-only file still has what was erased until the server rewrites it; and let all
-- API processes drop what they keep of the log. Called first, so that an account without the right erases nothing.
local function note_erasure(id)
  call('HINCRBY', P .. 'erasures', 'count', 1)
  call('SPUBLISH', P .. 'push:erased', id)
end

-- Erase what is kept of a request for its consumers, and list the request for an erasure in the history if there is one.
local function erase_kept(id, has_history)
  call('DEL', P .. 'record:' .. id, P .. 'given_up:' .. id)
  call('ZREM', P .. 'given_up', id)
  if has_history == '1' then call('ZADD', P .. 'erased', int(now), id) end
end

-- Take a request off the list of the dead. Only requests on that list keep their prompt after their end.
-- The limit of 1000 is approximate, and the list may be longer by a node of the stream.
local MOST_DEAD = 1200
local function strike_dead(id)
  if call('HEXISTS', P .. 'req:' .. id, 'payload') == 0 then return end
  for _, row in ipairs(call('XRANGE', P .. 'dead', '-', '+', 'COUNT', MOST_DEAD)) do
    if row[2][2] == id then call('XDEL', P .. 'dead', row[1]) end
  end
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

-- The bytes that were counted for a row.
local COUNTED = { asked = true, answered = true, called = true }
local function row_bytes(turns, row)
  local found, bytes = call('XRANGE', turns, row, row)[1], 0
  for i = 1, found and #found[2] or 0, 2 do
    if COUNTED[found[2][i]] then bytes = bytes + #found[2][i + 1] end
  end
  return bytes
end

-- Erase the rows of a turn, and keep its place in the tree of turns, because later turns may follow it. Processes
-- of version 0.1 read the row of the place as the answer of no question.
local function erase_turn(conversation, id, asked, answered)
  local conversation_key = P .. 'conv:' .. conversation
  local turns = conversation_key .. ':turns'
  erase_summary(conversation_key, id, asked)
  if answered ~= '' then
    lessen_kept(conversation_key, row_bytes(turns, answered))
    call('XDEL', turns, answered)
  end
  local question = asked ~= '' and call('XRANGE', turns, asked, asked)[1]
  if not question or question[2][2] ~= id then return end
  local place = { turns, '*', 'id', id, 'answered', '""', 'erased', asked }
  for i = 1, #question[2], 2 do
    if question[2][i] == 'links' then place[#place + 1], place[#place + 2] = 'links', question[2][i + 1] end
  end
  lessen_kept(conversation_key, row_bytes(turns, asked))
  call('XDEL', turns, asked)
  call('XADD', unpack(place))
  if call('HEXISTS', conversation_key, 'turns') == 1 then call('HINCRBY', conversation_key, 'turns', -1) end
  call('SPUBLISH', P .. 'push:conv:' .. conversation, '')
end

