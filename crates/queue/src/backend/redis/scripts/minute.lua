-- What each minute saw: a row of numbers for each, under its own number. What calls of few jobs saw is put aside first, in
-- "lately".
minutes[#minutes + 1] = function()
  local KEPT = 20160 -- minutes
  local LIMITS = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000 }

  local function bucket_of(time)
    local bucket = 1
    while LIMITS[bucket] and time > LIMITS[bucket] do
      bucket = bucket + 1
    end
    return bucket
  end

  -- A histogram of times, and their sum behind it; each time with how often it was seen.
  local known = {}
  local function add_times(row, at, seen, first, last)
    for n = first, last, 2 do
      local time, times = tonumber(seen[n]), seen[n + 1]
      local bucket = known[time]
      if not bucket then
        bucket = bucket_of(time)
        known[time] = bucket
      end
      row[at + bucket] = row[at + bucket] + times
      row[at + #LIMITS + 2] = row[at + #LIMITS + 2] + time * times
    end
  end

  local function new_row(number)
    call('ZADD', O .. 'minute', number, number)
    local outdated = call('ZRANGEBYSCORE', O .. 'minute', '-inf', tonumber(number) - KEPT, 'LIMIT', 0, 100)
    if #outdated > 0 then
      call('ZREM', O .. 'minute', unpack(outdated))
      call('HDEL', O .. 'minutes', unpack(outdated))
    end
    local row = {}
    for n = 1, 2 + 2 * (#LIMITS + 2) do
      row[n] = 0
    end
    return row
  end

  -- Adds what calls saw: the minute's number, how many completed, how many failed, where the times that jobs waited end, and
  -- behind these the times that others ran.
  function minutes.put(all)
    local rows, newest = {}, 0
    for _, seen in ipairs(all) do
      newest = math.max(newest, tonumber(seen[1]))
    end
    for _, seen in ipairs(all) do
      local number, row = seen[1], rows[seen[1]]
      if tonumber(number) > newest - KEPT then
        if not row then
          local packed = call('HGET', O .. 'minutes', number)
          row = packed and cmsgpack.unpack(packed) or new_row(number)
          rows[number] = row
        end
        row[1], row[2] = row[1] + seen[2], row[2] + seen[3]
        add_times(row, 2, seen, 5, seen[4])
        add_times(row, 4 + #LIMITS, seen, seen[4] + 1, #seen)
      end
    end
    for number, row in pairs(rows) do
      call('HSET', O .. 'minutes', number, cmsgpack.pack(row))
    end
  end

  -- Adds what was put aside.
  function minutes.gather()
    local all = call('LRANGE', O .. 'lately', 0, -1)
    if #all > 0 then
      for n, seen in ipairs(all) do
        all[n] = cmsgpack.unpack(seen)
      end
      call('DEL', O .. 'lately')
      minutes.put(all)
    end
  end

  -- Begins a minute of BullMQ's counters, unless it has begun: what was counted before it is a point of its own.
  function minutes.begin(name, before, number)
    local key = B .. 'metrics:' .. name
    local v = call('HMGET', key, 'prevTS', 'prevCount')
    local passed = v[1] and math.min(math.floor(now / 60000) - math.floor(tonumber(v[1]) / 60000), KEPT)
    if not passed then
      call('HSET', key, 'prevTS', stamp, 'prevCount', '0')
    elseif passed > 0 then
      local points = { before - (tonumber(v[2]) or 0) }
      for _ = 2, passed do
        points[#points + 1] = 0
      end
      for i = 1, #points, 1000 do
        call('LPUSH', key .. ':data', unpack(points, i, math.min(i + 999, #points)))
      end
      call('LTRIM', key .. ':data', 0, KEPT - 1)
      call('HSET', key, 'prevCount', before, 'prevTS', stamp)
    end
    if name == 'completed' and (not passed or passed >= 0) then
      call('HSET', B .. 'meta', 'lk:minute', number)
    end
  end
end
