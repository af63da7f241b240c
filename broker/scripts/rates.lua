-- Limits of what a tenant, or a user of it, may use in a time: functions that scripts share.
-- A limit is a bucket that is used up by requests and empties evenly, the whole of it in `window_ms`. So there is no
-- moment at which all of a limit comes back, and the time until a request has room is known.
-- `rates` is JSON: a list of { key, field, limit, window_ms, cost, is_settled }. KEY is the rest of a key of this
-- partition. Of a bucket, the field has the used amount and the time of its last change, as `<used>|<ms>`.
local function bucket_level(key, field, limit, window_ms, at_ms)
  local stored = redis.call('HGET', key, field)
  local used, since_ms = string.match(stored or '', '^(.*)|(%d+)$')
  if not used then return 0 end
  local passed_ms = math.max(0, at_ms - tonumber(since_ms))
  return math.max(0, tonumber(used) - passed_ms * limit / window_ms)
end

local function set_bucket(key, field, used, window_ms, at_ms)
  redis.call('HSET', key, field, string.format('%.3f|%.0f', used, at_ms))
  local kept_ms = redis.call('PTTL', key)
  if kept_ms < window_ms then redis.call('PEXPIRE', key, string.format('%.0f', window_ms)) end
end

-- Use what the request costs, of all limits or of none. Returns whether there was room, and as JSON for each limit the
-- rest and the time in ms until the bucket is empty, or else the number of the limit without room and the time in ms
-- until there is room.
local function take_rates(tag, rates, at_ms)
  if rates == '' then return true, '' end
  local limits, levels = cjson.decode(rates), {}
  for i, each in ipairs(limits) do
    local key, field, limit, window_ms, cost = unpack(each)
    local level = bucket_level(tag .. key, field, limit, window_ms, at_ms)
    -- A request that costs more than the whole limit waits for an empty bucket, or it would never be let in.
    if level + cost > limit and level > 0 then
      local excess = math.min(level, level + cost - limit)
      return false, cjson.encode({ i - 1, math.ceil(excess * window_ms / limit) })
    end
    levels[i] = level + cost
  end
  local rest = {}
  for i, each in ipairs(limits) do
    local key, field, limit, window_ms = unpack(each)
    set_bucket(tag .. key, field, levels[i], window_ms, at_ms)
    rest[i] = { math.floor(math.max(0, limit - levels[i])), math.ceil(levels[i] * window_ms / limit) }
  end
  return true, cjson.encode(rest)
end

-- Replace what a request has reserved of the limits by what it has used.
local function settle_rates(tag, rates, used, at_ms)
  if rates == '' then return end
  for _, each in ipairs(cjson.decode(rates)) do
    local key, field, limit, window_ms, cost, is_settled = unpack(each)
    if is_settled then
      local level = bucket_level(tag .. key, field, limit, window_ms, at_ms)
      set_bucket(tag .. key, field, math.max(0, level + used - cost), window_ms, at_ms)
    end
  end
end
