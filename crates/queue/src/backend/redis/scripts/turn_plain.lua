-- A turn of jobs that ask for nothing but to be run, as most do: some have completed, others are taken that wait without a
-- priority. It says the same as a whole turn does of such jobs (ends.lua, take.lua, turn.lua), without what those share with the
-- others. Answers nothing, and has changed nothing, when there is more to a job or its queue.
-- ARGV: as those of a whole turn, with one run of ends at the most.
local ends, token, most = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local FIRST, END = 18, 3
local queue = meta(B)
if queue.paused or queue.slots or queue.max or queue.groups then
  return false
end

local keys, ending = {}, {}
for i = 1, ends do
  keys[i] = B .. ARGV[FIRST + END * (i - 1)] .. ':lock'
end
keys[ends + 1] = B .. 'limiter'
local locks, ender = call('MGET', unpack(keys)), ARGV[12]
keys[ends + 1] = nil
local delayed = redis.pcall('ZRANGE', B .. 'delayed', '0', '0', 'WITHSCORES')
local first = tonumber(delayed[2])
local next_due = first and math.floor(first / 4096)
if locks[ends + 1] or delayed.err or (first and (next_due <= now or first >= PARKED)) then
  return false
end
local tries = {}
for i = 1, ends do
  local id = ARGV[FIRST + END * (i - 1)]
  local h = redis.pcall('HMGET', B .. id, 'priority', 'atm', 'parentKey', 'deid', 'defa')
  if locks[i] ~= ender or ending[id] or h.err or not h[1] or h[1] == '2097152' or h[3] or h[4] or h[5] then
    return false
  end
  ending[id], tries[i] = true, after(h[2] or '0')
end
local unknown = ends > 0 and call('EXISTS', B .. 'stalled', O .. 'families') > 0
if unknown and call('EXISTS', O .. 'families') == 1 then
  return false
end
local ids = redis.pcall('LRANGE', B .. 'wait', '-' .. ARGV[5], '-1')
if ids.err or #ids < most and call('EXISTS', B .. 'prioritized') == 1 then
  return false
end
local held = {}
for n = #ids, 1, -1 do
  local h = ending[ids[n]] == nil and read(B .. ids[n])
  if not h or not h[1] or not h[4] or h[8] or h[11] == '2097152' then
    return false
  end
  ending[ids[n]], held[#held + 1] = false, h
end

local answers = {}
if ends > 0 then
  local finished, unstalled, deleted = {}, {}, {}
  if ends >= ENOUGH then
    leave_together(ending, ends)
  end
  for i = 1, ends do
    local at = FIRST + END * (i - 1)
    local id, text = ARGV[at], ARGV[at + 1]
    local key = B .. id
    if leave(id) then
      call('HSET', key, 'atm', tries[i], 'finishedOn', stamp, 'lk:s', ender, 'returnvalue', text)
      tell(B, 'completed', 'jobId', id, 'returnvalue', text, 'prev', 'active')
      finished[2 * done + 1], finished[2 * done + 2] = stamp, id
      done = done + 1
      unstalled[done], deleted[done] = id, keys[i]
      count_run(ARGV[at + 2])
      answers[i] = 'D'
    else
      answers[i] = call('HGET', key, 'lk:s') == ender and 'A' or 'L'
    end
  end
  if done > 0 then
    if unknown then
      each('SREM', B .. 'stalled', unstalled)
    end
    each('ZADD', B .. 'completed', finished)
    for _, id in ipairs(outdated({ good = true, count = tonumber(ARGV[16]), age = tonumber(ARGV[17]), times = done })) do
      keys_of(B, id, deleted)
    end
    delete(deleted)
  end
end

if #ids == 1 then
  call('RPOPLPUSH', B .. 'wait', B .. 'active')
elseif #ids > 0 then
  local taken = {}
  for n = #ids, 1, -1 do
    taken[#taken + 1] = ids[n]
  end
  call('LTRIM', B .. 'wait', '0', -#ids - 1)
  each('LPUSH', B .. 'active', taken)
end
for n, h in ipairs(held) do
  local id, starts = ids[#ids + 1 - n], after(h[6] or '0')
  local key = B .. id
  count_wait(h[10] or h[4])
  call('SET', key .. ':lock', token, 'PX', ARGV[6])
  tell(B, 'active', 'jobId', id, 'prev', 'waiting')
  call('HSET', key, 'processedOn', stamp, 'pb', ARGV[2], 'ats', starts)
  h[6], h[10], h[11] = starts, stamp, id
end
if #ids < most then
  call('DEL', B .. 'pc')
end

local left = call('LLEN', B .. 'wait')
if left == 0 and #ids == most then
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
if done > 0 and left + #ids == 0 and call('EXISTS', B .. 'paused', B .. 'active') == 0 then
  tell(B, 'drained')
end
keep_counts(ARGV[10])
return { table.concat(answers), held, next_code, next_at }
