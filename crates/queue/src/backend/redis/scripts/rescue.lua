-- Puts jobs without a lock back. ARGV: now, most, stalls allowed, how many of the oldest active ones have been looked at.
-- Answers those that it took off, and with how many looked at to go on; '' after the last.
local most, allowed, skip = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local STEP = 5000
local GONE = '\0' -- no id
local active = call('LRANGE', B .. 'active', -(skip + STEP), -(skip + 1)) -- the oldest stands last
local found, looked = {}, 0

-- What is known of a job without a lock. What lies under a job's key and is none stays.
local function look(at, lock)
  if lock then
    return
  end
  local v = redis.pcall('HMGET', B .. active[at], 'stc', 'priority')
  if not v.err then
    found[#found + 1] = { id = active[at], at = -(skip + #active - at + 1), stalls = v[1], priority = tonumber(v[2]) or 0 }
  end
end
for to = #active, 1, -CUT do
  local keys = {}
  for n = to, math.max(1, to - CUT + 1), -1 do
    keys[#keys + 1] = B .. active[n] .. ':lock'
  end
  for n, lock in ipairs(call('MGET', unpack(keys))) do
    if #found < most then
      look(to - n + 1, lock)
      looked = looked + 1
    end
  end
end

-- A job is ready again; it is marked where it stands, and leaves there with the others.
local function put_back(job)
  local id, key = job.id, B .. job.id
  local there = call('EXISTS', key) == 1
  if there then
    places.ready(B, id, job.priority, true)
  end
  call('LSET', B .. 'active', job.at, GONE)
  job.left = true
  if there then
    local stalls = tonumber((job.stalls or ''):match('^%d+$') or 0) + 1
    call('HSET', key, 'stc', string.format('%.0f', stalls), 'lk:at', now)
    if stalls > allowed then
      call('HSET', key, 'defa', STALLED)
    end
    tell(B, 'waiting', 'jobId', id, 'prev', 'active')
    tell(B, 'stalled', 'jobId', id)
  end
end
-- From the last to the first, which comes to stand in front. One that cannot be put back stays and keeps none of the others.
for n = #found, 1, -1 do
  pcall(put_back, found[n])
end
local rescued = {}
for _, job in ipairs(found) do
  if job.left then
    rescued[#rescued + 1] = job.id
  end
end
if #rescued > 0 then
  call('LREM', B .. 'active', -#rescued, GONE)
  each('SREM', B .. 'stalled', rescued)
  mark(B)
end
local next_skip = ''
if looked < #active or #active == STEP then
  next_skip = skip + looked - #rescued
end
if skip == 0 and meta(B).groups then
  keep_groups()
  local lane = groups.lane(B)
  local whole, any = pcall(groups.mend, lane) -- what it cannot mend is no reason to rescue nobody
  if not whole or any or #lane.changed > 0 then
    mark(B)
  end
end
keep_groups()
return { rescued, tostring(next_skip) }
