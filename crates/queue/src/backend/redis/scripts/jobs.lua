-- What a turn does with jobs, whatever else there is to it: how they leave the active ones, and the finished ones, and what is read.
local ENOUGH, MOST = 8, 1000
local left = {} -- ids that have been taken off the active ones

-- Takes a job off the active ones; answers whether it was there.
local function leave(id)
  left[id] = left[id] or call('LREM', B .. 'active', '-1', id) > 0
  return left[id]
end

-- Of many jobs that end, those that are among the oldest, which are most of them, leave together, before any is settled.
local function leave_together(ending, count)
  local oldest, rest = call('LRANGE', B .. 'active', -math.min(2 * count, MOST), '-1'), {}
  for _, id in ipairs(oldest) do
    if ending[id] then
      left[id] = true
    else
      rest[#rest + 1] = id
    end
  end
  if #rest < #oldest then
    call('LTRIM', B .. 'active', '0', -#oldest - 1)
    each('RPUSH', B .. 'active', rest)
  end
end

-- Retention: takes off the oldest, at most two for each job that finished; answers which they were.
local function outdated(rule)
  local set, most, old = B .. (rule.good and 'completed' or 'failed'), rule.times * 2, {}
  local many, young = rule.count and call('ZCARD', set) - rule.count or 0, not rule.age
  if many > 0 and rule.times < ENOUGH then
    local popped = call('ZPOPMIN', set, math.min(many, most))
    for n = 1, #popped, 2 do
      old[#old + 1] = popped[n]
    end
    young = young or tonumber(popped[#popped]) > now - rule.age
    many, most = 0, most - #old
  end
  if not young and many < most then
    many = math.max(many, call('ZCOUNT', set, '-inf', now - rule.age))
  end
  if many > 0 and most > 0 then
    local last = math.min(many, most) - 1
    for _, id in ipairs(call('ZRANGE', set, '0', last)) do
      old[#old + 1] = id
    end
    call('ZREMRANGEBYRANK', set, '0', last)
  end
  return old
end

-- What is read of a job that is taken: BullMQ's name, data, opts, timestamp, atm, ats, stc and defa, then whether it is canceled,
-- since when it is ready, and its priority. Only who has been tried has stalled, and who is canceled has a "defa", too. In what is
-- handed over, the last two have given way to when it was taken and its id. What is of another shape is no job.
local function read(key)
  local h = redis.pcall('HMGET', key, 'name', 'data', 'opts', 'timestamp', 'atm', 'ats', 'defa', 'lk:at', 'priority')
  if h.err then
    return nil
  end
  h[8], h[10], h[11] = h[7], h[8], h[9]
  h[7] = (h[5] or h[6]) and call('HGET', key, 'stc')
  h[9] = h[8] and call('HGET', key, 'lk:c')
  return h
end
