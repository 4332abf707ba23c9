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

-- BullMQ's counter. Of the jobs that complete, it is read with the queue's options which minute they have begun.
local function count_up(name, n, number)
  if n > 0 then
    local key = B .. 'metrics:' .. name
    local before = call('HINCRBY', key, 'count', n) - n
    if name == 'failed' or meta(B).minute ~= number then
      minutes.begin(name, before, number)
    end
  end
end

-- Writes what was counted. What the minute saw is put aside first, unless its times are very many.
local FEW, LATELY = 128, 64 -- numbers, entries
local function keep_counts(number)
  count_up('completed', done, number)
  count_up('failed', dead, number)
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
