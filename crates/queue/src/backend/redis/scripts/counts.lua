-- What a turn counts: how many jobs completed and failed, how many waited and ran how long.
local done, dead = 0, 0
local waits, runs = {}, {}

local since, waited
local function count_wait(ready)
  if ready ~= since or not ready then
    since, waited = ready, math.max(0, now - (tonumber(ready) or now))
  end
  waits[waited] = (waits[waited] or 0) + 1
end

local function count_run(ran)
  if ran ~= '' then
    runs[ran] = (runs[ran] or 0) + 1
  end
end

-- BullMQ's counter of the minute.
local function count_up(name, n)
  local key = B .. 'metrics:' .. name
  local before = call('HINCRBY', key, 'count', n) - n
  local v = call('HMGET', key, 'prevTS', 'prevCount')
  local passed = v[1] and math.min(math.floor(now / 60000) - math.floor(tonumber(v[1]) / 60000), 20160)
  if not passed then
    call('HSET', key, 'prevTS', stamp, 'prevCount', '0')
  elseif passed > 0 then
    local points = { before - (tonumber(v[2]) or 0) }
    for _ = 2, passed do
      points[#points + 1] = 0
    end
    each('LPUSH', key .. ':data', points)
    call('LTRIM', key .. ':data', 0, 20159)
    call('HSET', key, 'prevCount', before, 'prevTS', stamp)
  end
end

-- Writes what was counted. What the minute saw is put aside first, unless its times are very many.
local FEW, LATELY = 128, 64 -- numbers, entries
local function keep_counts(number)
  if done > 0 then
    count_up('completed', done)
  end
  if dead > 0 then
    count_up('failed', dead)
  end
  if done + dead > 0 or next(waits) or next(runs) then
    local seen, n = { number, done, dead, 0 }, 4
    for time, times in pairs(waits) do
      seen[n + 1], seen[n + 2], n = time, times, n + 2
    end
    seen[4] = n
    for time, times in pairs(runs) do
      seen[n + 1], seen[n + 2], n = time, times, n + 2
    end
    if n > FEW then
      minutes.put({ seen })
    elseif call('RPUSH', O .. 'lately', cmsgpack.pack(seen)) >= LATELY then
      minutes.gather()
    end
  end
end
