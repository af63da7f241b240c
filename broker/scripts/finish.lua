-- End a running request: append its last entries if there are any, then the terminal, and free all it held.
-- KEYS   1 ring
-- ARGV   1 request_id  2 attempt  3 first_seq  4 retention_s  5 conversation_ttl_s  6 usage (JSON)|''
--        7 answered (JSON)|''  8 called (JSON)|''  9 state  10 max_output_bytes
--        11.. values, the last one the terminal
-- ->     OK seq | DUP seq | GAP seq | FENCED state | TOO_LONG seq
-- FLAGS  allow-oom
-- NEEDS  rights prefix kept rates lifecycle
-- The terminal is written in one step with the state, the lease, the limits and the TTLs, so no reader
-- can see one without the others. A repeated call returns DUP. The worker passes the completed answer that
-- the conversation remembers; any other end is remembered from the log.
local request_id, attempt, first_seq, retention_s, conversation_ttl_s, usage, answered, called, state,
  max_output_bytes = unpack(ARGV, 1, 10)
local retention_s, conversation_ttl_s = tonumber(retention_s), tonumber(conversation_ttl_s)
local VALUES = 11
local r = read_request(request_id)
local first = tonumber(first_seq)
local last = first + #ARGV - VALUES
if r.attempt ~= attempt then return { 'FENCED', r.state or 'missing' } end
if r.state == state then return { 'DUP', r.seq } end
if r.state ~= 'running' then return { 'FENCED', r.state or 'missing' } end
if first > r.seq + 1 or last <= r.seq then return { 'GAP', r.seq } end

local bytes = 0
for seq = r.seq + 1, last - 1 do bytes = bytes + #ARGV[VALUES + seq - first] end
if bytes > 0 then
  bytes = bytes + r.output
  if bytes > tonumber(max_output_bytes) then return { 'TOO_LONG', r.seq } end
  r.output = bytes
end

if last > r.seq + 1 then
  drop_foreign_entries(r)
  r.has_own_entries = true
end
for seq = r.seq + 1, last - 1 do
  append_entry(r.id, r.attempt .. '-' .. int(seq), ARGV[VALUES + seq - first])
  r.seq = seq
end
-- The worker counts what it wrote, so nothing of this attempt is missing.
r.replid = nil
if usage ~= '' then
  call('HSETNX', P .. 'req:' .. r.id, 'usage:' .. r.attempt, usage)
  local is_json, read = pcall(cjson.decode, usage)
  if is_json and type(read) == 'table' then
    local total = tonumber(read.total_tokens)
    r.used_input, r.used_output = tonumber(read.prompt_tokens), tonumber(read.completion_tokens)
    -- Some upstreams report the sum alone, and some count tokens of the answer in the sum only.
    if total then
      r.used_input = r.used_input or math.min(r.input, total)
      r.used_output = total - r.used_input
    end
  end
end
if answered ~= '' then add_answer(r, answered, state, called) end
end_request(r, state, ARGV[#ARGV], retention_s, conversation_ttl_s)
return { 'OK', r.seq }
