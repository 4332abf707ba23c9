-- A turn of jobs that ask for nothing but to be run, as most do: some have completed, others are taken that wait without a
-- priority. It stands alone, as add_plain.lua does: the functions that the scripts share cost more to make than what they do for
-- one job. It says the same as a whole turn does of such jobs (ends.lua, take.lua, turn.lua, counts.lua). Answers nothing, and
-- has changed nothing, when there is more to a job or its queue.
-- ARGV: as those of a whole turn, with one run of ends at the most.
local args = ARGV
local worker, ends, token, most = args[2], tonumber(args[3]), args[4], tonumber(args[5])
local FIRST, END = 18, 3 -- of its ends: id, text, ran ms
local LATELY, FEW = 64, 128 -- as in counts.lua
local active, wait, completed, events = B .. 'active', B .. 'wait', B .. 'completed', B .. 'events'

-- Looks at all there is to it.
local meta = call('HMGET', B .. 'meta', 'paused', 'concurrency', 'max', 'opts.maxLenEvents', 'lk:groups', 'lk:minute')
if meta[1] or tonumber(meta[2]) or tonumber(meta[3]) or not meta[4] or meta[5] then
  return false
end
local locks = {} -- their keys, then what they say
for i = 1, ends do
  locks[i] = B .. args[FIRST + END * (i - 1)] .. ':lock'
end
locks[ends + 1] = B .. 'limiter'
local held_by, ender = call('MGET', unpack(locks)), args[12]
local delayed = redis.pcall('ZRANGE', B .. 'delayed', '0', '0', 'WITHSCORES')
local first = tonumber(delayed[2])
local next_due = first and math.floor(first / 4096)
if held_by[ends + 1] or delayed.err or first and (next_due <= now or first >= 2 ^ 62) then
  return false
end
local tries, ending = {}, {}
for i = 1, ends do
  local id = args[FIRST + END * (i - 1)]
  local h = redis.pcall('HMGET', B .. id, 'priority', 'atm', 'parentKey', 'deid', 'defa')
  if held_by[i] ~= ender or ending[id] or h.err or not h[1] or h[1] == '2097152' or h[3] or h[4] or h[5] then
    return false
  end
  ending[id], tries[i] = true, h[2] and h[2] ~= '0' and string.format('%d', (tonumber(h[2]) or 0) + 1) or '1'
end
local unknown = ends > 0 and call('EXISTS', B .. 'stalled', O .. 'families') > 0
if unknown and call('EXISTS', O .. 'families') == 1 then
  return false
end
local ids = redis.pcall('LRANGE', wait, -most - 1, '-1') -- one more, which tells whether others are left
local left = #ids - most
if ids.err or left < 0 and call('EXISTS', B .. 'prioritized') == 1 then
  return false
end
local held = {}
for n = #ids, math.max(1, left + 1), -1 do
  local id = ids[n]
  local h = ending[id] == nil
    and redis.pcall('HMGET', B .. id, 'name', 'data', 'opts', 'timestamp', 'atm', 'ats', 'defa', 'lk:at', 'priority')
  if not h or h.err or not h[1] or not h[4] or h[7] or h[9] == '2097152' then
    return false
  end
  ending[id], held[#held + 1] = false, h
end

-- What is of another type than it is to be shows before anything is changed.
local kept = 0
if ends > 0 then
  kept = call('ZCARD', completed)
else
  call('LLEN', active)
end
if unknown then
  local unstalled = {}
  for i = 1, ends do
    unstalled[i] = args[FIRST + END * (i - 1)]
  end
  call('SREM', B .. 'stalled', unpack(unstalled))
end

-- Those that have completed leave the active ones: of many, those among the oldest, as most of them are, at once.
local gone, done = {}, 0
if ends > 1 then
  local oldest, rest = call('LRANGE', active, math.max(-2 * ends, -1000), '-1'), {}
  for _, id in ipairs(oldest) do
    if ending[id] then
      gone[id] = true
    else
      rest[#rest + 1] = id
    end
  end
  if #rest < #oldest then
    call('LTRIM', active, '0', -#oldest - 1)
    if #rest > 0 then
      call('RPUSH', active, unpack(rest))
    end
  end
end
local answers, finished, deleted, runs = {}, {}, {}, {}
for i = 1, ends do
  local at = FIRST + END * (i - 1)
  local id, text, ran = args[at], args[at + 1], args[at + 2]
  local key = B .. id
  if not gone[id] and call('LREM', active, '-1', id) == 0 then
    answers[i] = call('HGET', key, 'lk:s') == ender and 'A' or 'L'
  elseif type(redis.pcall('XADD', events, '*', 'event', 'completed', 'jobId', id, 'returnvalue', text, 'prev', 'active'))
    == 'table' then -- an error: what cannot be told has not happened
    call('RPUSH', active, id)
    answers[i] = 'L'
  else
    call('HSET', key, 'atm', tries[i], 'finishedOn', stamp, 'lk:s', ender, 'returnvalue', text)
    finished[2 * done + 1], finished[2 * done + 2] = stamp, id
    done = done + 1
    deleted[done], answers[i] = locks[i], 'D'
    if ran ~= '' then
      runs[ran] = (runs[ran] or 0) + 1
    end
  end
end

-- Retention: the oldest go, at most two for each that has completed.
if done > 0 then
  local count, age, old = tonumber(args[16]), tonumber(args[17]), {}
  kept = kept + call('ZADD', completed, unpack(finished))
  local surplus, room = count and kept - count or 0, 2 * done
  if surplus > 0 and done == 1 then
    local popped = call('ZPOPMIN', completed, math.min(surplus, room))
    old[1], old[2] = popped[1], popped[3]
    age, surplus, room = age and tonumber(popped[#popped]) <= now - age and age, 0, room - #old
  end
  if age and surplus < room then
    surplus = math.max(surplus, call('ZCOUNT', completed, '-inf', now - age))
  end
  if surplus > 0 and room > 0 then
    local last = math.min(surplus, room) - 1
    for _, id in ipairs(call('ZRANGE', completed, '0', last)) do
      old[#old + 1] = id
    end
    call('ZREMRANGEBYRANK', completed, '0', last)
  end
  -- Hardly any job has keys beside its record: of several, it is asked first whether one has.
  local beside = #old < 3 and deleted or {}
  for _, id in ipairs(old) do
    if ending[id] ~= false then -- what waits as well is about to run
      local key = B .. id
      deleted[#deleted + 1] = key
      local n = #beside
      beside[n + 1], beside[n + 2], beside[n + 3], beside[n + 4], beside[n + 5] = key .. ':logs', key .. ':dependencies',
        key .. ':processed', key .. ':failed', key .. ':unsuccessful'
    end
  end
  call('UNLINK', unpack(deleted))
  for i = 1, beside ~= deleted and #beside or 0, 1000 do
    local some = math.min(i + 999, #beside)
    if call('EXISTS', unpack(beside, i, some)) > 0 then
      call('UNLINK', unpack(beside, i, some))
    end
  end
end

-- Those that are taken.
if #held == 1 and done > 0 then
  call('RPOPLPUSH', wait, active) -- refused by a server without memory, unless the script has written something
elseif #held > 0 then
  local taken = {}
  for n = 1, #held do
    taken[n] = ids[#ids + 1 - n]
  end
  call('LTRIM', wait, '0', -#held - 1)
  call('LPUSH', active, unpack(taken))
end
local waits, since, waited = {}, nil, nil
for n, h in ipairs(held) do
  local id = ids[#ids + 1 - n]
  local key, ready = B .. id, h[8] or h[4]
  local starts = h[6] and h[6] ~= '0' and string.format('%d', (tonumber(h[6]) or 0) + 1) or '1'
  if ready ~= since then
    since, waited = ready, math.max(0, now - (tonumber(ready) or now))
  end
  waits[waited] = (waits[waited] or 0) + 1
  call('PSETEX', key .. ':lock', args[6], token)
  if n % 500 == 1 then
    call('XADD', events, 'MAXLEN', '~', meta[4], '*', 'event', 'active', 'jobId', id, 'prev', 'waiting')
  else
    call('XADD', events, '*', 'event', 'active', 'jobId', id, 'prev', 'waiting')
  end
  call('HSET', key, 'processedOn', stamp, 'pb', worker, 'ats', starts)
  -- As jobs.lua reads them: "stc" of who has been tried, no "defa", not canceled, when it was taken and its id.
  h[7] = (h[5] or h[6]) and call('HGET', key, 'stc')
  h[6], h[8], h[9], h[10], h[11] = starts, false, false, stamp, id
end

-- What the others are told.
if left < 0 then
  call('DEL', B .. 'pc')
elseif left == 0 then
  left = call('ZCARD', B .. 'prioritized')
end
local next_code, next_at = 'M', 0
if left > 0 then
  call('ZADD', B .. 'marker', '0', '0')
elseif next_due then
  next_code, next_at = 'T', next_due
else
  next_code = 'E'
end
if #held == 0 and done > 0 then
  if left <= 0 and call('EXISTS', B .. 'paused', active) == 0 then
    call('XADD', events, '*', 'event', 'drained')
  end
  call('XTRIM', events, 'MAXLEN', '~', meta[4])
end

-- What is counted.
if done > 0 then
  local before = call('HINCRBY', B .. 'metrics:completed', 'count', done) - done
  if meta[6] ~= args[10] then
    furnish()
    minutes.begin('completed', before, args[10])
  end
end
if done + #held > 0 then
  local seen, n = { args[10], done, 0, 0 }, 4
  for time, times in pairs(waits) do
    seen[n + 1], seen[n + 2], n = time, times, n + 2
  end
  seen[4] = n
  for time, times in pairs(runs) do
    seen[n + 1], seen[n + 2], n = time, times, n + 2
  end
  if call('RPUSH', O .. 'lately', cmsgpack.pack(seen)) >= LATELY or n > FEW then
    furnish()
    minutes.gather()
  end
end
return { table.concat(answers), held, next_code, next_at }
