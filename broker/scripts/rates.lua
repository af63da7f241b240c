-- Limits of what a tenant, or a user of it, may use in a time: functions that scripts share.
-- A limit is a bucket that is used up by requests and empties evenly, the whole of it in `window_ms`. So there is no
-- moment at which all of a limit comes back, and the time until a request has room is known.
-- `rates` is JSON: a list of { key, field, limit, window_ms, cost, is_settled }. KEY is the rest of a key of this
-- partition. Of a bucket, the field has the used amount and the time of its last change, as `<used>|<ms>`.

-- No request uses more tokens than this, whatever an upstream reports.
local MOST_USED = 1e9

local function bucket_level(key, field, limit, window_ms, at_ms)
  local stored = redis.call('HGET', key, field)
  local used, since_ms = string.match(stored or '', '^(.*)|(%d+)$')
  if not used then return 0 end
  -- After a clock was set back, a bucket would not empty until the time of its last change comes again.
  if tonumber(since_ms) > at_ms then redis.call('HSET', key, field, used .. '|' .. string.format('%.0f', at_ms)) end
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
    cost = math.min(cost, limit)
    -- A request that costs more than the whole limit takes all of it, or it would never be let in.
    if level + cost > limit and level > 0 then
      local excess = math.min(level, level + cost - limit)
      return false, string.format('[%d,%.0f]', i - 1, math.ceil(excess * window_ms / limit))
    end
    levels[i] = level + cost
  end
  local rest = {}
  for i, each in ipairs(limits) do
    local key, field, limit, window_ms = unpack(each)
    set_bucket(tag .. key, field, levels[i], window_ms, at_ms)
    local left, empty_ms = math.max(0, limit - levels[i]), levels[i] * window_ms / limit
    rest[i] = string.format('[%.0f,%.0f]', math.floor(left), math.ceil(empty_ms))
  end
  return true, '[' .. table.concat(rest, ',') .. ']'
end

-- Replace what a request has reserved of the limits by what it has used.
local function settle_rates(tag, rates, used, at_ms)
  if rates == '' then return end
  used = math.max(0, math.min(used, MOST_USED))
  for _, each in ipairs(cjson.decode(rates)) do
    local key, field, limit, window_ms, cost, is_settled = unpack(each)
    if is_settled then
      local level = bucket_level(tag .. key, field, limit, window_ms, at_ms)
      -- A bucket is kept for one window, so it holds no more than empties in that time.
      local settled = math.min(limit, level + used - math.min(cost, limit))
      set_bucket(tag .. key, field, math.max(0, settled), window_ms, at_ms)
    end
  end
end

-- Give back what a request took that was not let in.
local function return_rates(tag, rates, at_ms)
  if rates == '' then return end
  for _, each in ipairs(cjson.decode(rates)) do
    local key, field, limit, window_ms, cost = unpack(each)
    local level = bucket_level(tag .. key, field, limit, window_ms, at_ms)
    set_bucket(tag .. key, field, math.max(0, level - math.min(cost, limit)), window_ms, at_ms)
  end
end
