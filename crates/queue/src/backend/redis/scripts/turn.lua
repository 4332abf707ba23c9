-- The end of a turn: what it says and counts.
if any_due then
  places.mark_due(B)
end
if any_final and not stirs and call('EXISTS', B .. 'wait', B .. 'paused', B .. 'prioritized', B .. 'active') == 0
  and not (any_groups() and call('ZCOUNT', B .. 'delayed', PARKED, '+inf') > 0) then
  tell(B, 'drained')
end

-- BullMQ's counters of the minute.
for name, n in pairs({ completed = minute.done, failed = minute.dead }) do
  if n > 0 then
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
end

-- What the minute saw: unless times are very many it is put aside first.
local FEW, LATELY = 128, 64 -- numbers, entries
if minute.done + minute.dead > 0 or next(waits) or next(runs) then
  local seen, n = { ARGV[10], minute.done, minute.dead, 0 }, 4
  for waited, times in pairs(waits) do
    seen[n + 1], seen[n + 2], n = waited, times, n + 2
  end
  seen[4] = n
  for ran, times in pairs(runs) do
    seen[n + 1], seen[n + 2], n = ran, times, n + 2
  end
  if n > FEW then
    minutes.put({ seen })
  elseif call('RPUSH', O .. 'lately', cmsgpack.pack(seen)) >= LATELY then
    minutes.gather()
  end
end
keep_groups()
return { table.concat(answers), held, next_code, next_at }
