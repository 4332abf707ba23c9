-- Ends held jobs and takes others.
-- ARGV: now, worker, ends, token, most, lock ms, resume, rate max, rate ms, minute, then for each end:
-- id, token, outcome, at, text, kind, keep count, keep ms, ran ms.
local worker, ends = ARGV[2], tonumber(ARGV[3])
local END = 9
local finished, any_due = {}, false
local deleted, unstalled, gone = {}, {}, {}
local to_completed, to_failed = {}, {}
local minute = { done = 0, dead = 0 }
local waits, runs = {}, {}
local any_final, changed = false, ends > 0

local function settle(at, lock)
  local id, token, outcome = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local key = B .. id
  local h = call('HMGET', key, 'timestamp', 'atm', 'parentKey', 'parent', 'deid', 'lk:s', 'lk:c', 'defa', 'priority', 'opts', 'lk:f')
  if gone[id] or (not h[1] and call('EXISTS', key) == 0) then
    return 'G'
  end
  if lock ~= token or call('LREM', B .. 'active', -1, id) == 0 then
    return h[6] == token and 'A' or 'L'
  end
  deleted[#deleted + 1], unstalled[#unstalled + 1] = key .. ':lock', id
  local made, text = (tonumber(h[2]) or 0), ARGV[at + 4]
  local priority = tonumber(h[9]) or 0
  local grouped = priority == GROUPED
  if outcome == 'c' or outcome == 'f' then
    made = made + 1
    any_final = true
    local good = outcome == 'c'
    if h[5] then
      dedup_ended(B, id, h[5])
    end
    if grouped then
      groups.left(B, id)
    end
    if ARGV[at + 6] == '0' then
      keys_of(B, id, deleted)
      gone[id] = true
    else
      local set = { 'atm', made, 'finishedOn', now, 'lk:s', token }
      if good then
        set[7], set[8] = 'returnvalue', text
        to_completed[#to_completed + 1], to_completed[#to_completed + 2] = now, id
      else
        failure(set, text, ARGV[at + 5])
        to_failed[#to_failed + 1], to_failed[#to_failed + 2] = now, id
      end
      call('HSET', key, unpack(set))
      if h[7] or h[8] then
        call('HDEL', key, 'defa', 'lk:c')
      end
      local rule = outcome .. ARGV[at + 6] .. ':' .. ARGV[at + 7]
      local kept = finished[rule]
      if kept then
        kept.times = kept.times + 1
      elseif ARGV[at + 6] ~= '' or ARGV[at + 7] ~= '' then
        finished[rule] = { set = good and 'completed' or 'failed', count = tonumber(ARGV[at + 6]), age = tonumber(ARGV[at + 7]),
          times = 1 }
      end
    end
    if good then
      minute.done = minute.done + 1
      tell(B, 'completed', 'jobId', id, 'returnvalue', text, 'prev', 'active')
    else
      minute.dead = minute.dead + 1
      if ARGV[at + 5] == 'error' then
        tell(B, 'failed', 'jobId', id, 'failedReason', text, 'prev', 'active')
      else
        tell(B, 'failed', 'jobId', id, 'failedReason', text, 'prev', 'active', 'lk:kind', ARGV[at + 5])
      end
      if made >= (tonumber(options(h[10]).attempts) or 0) then
        tell(B, 'retries-exhausted', 'jobId', id, 'attemptsMade', made)
      end
    end
    if h[3] then
      if good then
        child_completed(key, h[3], h[4], text)
      else
        child_failed(key, h[3], h[4], text)
      end
      if ARGV[at + 6] == '0' then
        child_gone(key, h[3], h[4])
      end
    end
    return 'D'
  end
  local set = { 'lk:s', token, 'lk:at', now }
  local due = tonumber(ARGV[at + 3])
  local function again()
    if due > now then
      set[#set + 1], set[#set + 2] = 'delay', due - now
      if grouped then
        groups.left(B, id)
      end
      delay(B, id, due)
      tell(B, 'delayed', 'jobId', id, 'delay', due)
      any_due = true
    else
      ready(B, id, priority, goes_first(priority, h[10]))
      tell(B, 'waiting', 'jobId', id, 'prev', 'active')
    end
  end
  if outcome == 'r' then
    set[#set + 1], set[#set + 2] = 'atm', made + 1
    failure(set, text, ARGV[at + 5])
    again()
  elseif outcome == 'l' then
    again()
  elseif outcome == 'w' and call('SCARD', key .. ':dependencies') > 0 and not (h[8] and h[8]:sub(1, 6) == 'child ') then
    if grouped then
      groups.left(B, id)
    end
    call('ZADD', B .. 'waiting-children', now, id)
    tell(B, 'waiting-children', 'jobId', id, 'prev', 'active')
  elseif outcome == 'w' and not h[11]
    and call('EXISTS', key .. ':dependencies', key .. ':processed', key .. ':failed', key .. ':unsuccessful') == 0 then
    due = now + 1000
    again()
  else
    if outcome == 's' then
      hold(due)
    elseif outcome == 'g' and grouped then
      groups.hold(B, id, due)
    end
    ready(B, id, priority, true)
    tell(B, 'waiting', 'jobId', id, 'prev', 'active')
  end
  call('HSET', key, unpack(set))
  return 'D'
end

-- Retention: the oldest go, at most two for each job that finished.
local function evict(rule)
  local set = B .. rule.set
  local oldest = call('ZRANGE', set, 0, rule.times * 2 - 1, 'WITHSCORES')
  local many = rule.count and call('ZCARD', set) - rule.count or 0
  local gone = {}
  for i = 1, #oldest, 2 do
    local old = rule.age and tonumber(oldest[i + 1]) <= now - rule.age
    if not old and many <= 0 then
      break
    end
    many = many - 1
    gone[#gone + 1] = oldest[i]
  end
  if #gone > 0 then
    each('ZREM', set, gone)
    forget(B, gone, false)
  end
end

local answers = {}
if ends > 0 then
  local locks, seen = {}, {}
  for i = 0, ends - 1 do
    locks[i + 1] = B .. ARGV[11 + END * i] .. ':lock'
  end
  locks = call('MGET', unpack(locks))
  for i = 0, ends - 1 do
    local at = 11 + END * i
    local id = ARGV[at]
    local code = settle(at, not seen[id] and locks[i + 1])
    if code == 'D' then
      seen[id] = true
      if ARGV[at + 8] ~= '' then
        runs[#runs + 1] = tonumber(ARGV[at + 8])
      end
    end
    answers[i + 1] = code
  end
  if #unstalled > 0 then
    each('SREM', B .. 'stalled', unstalled)
    delete(deleted)
    each('ZADD', B .. 'completed', to_completed)
    each('ZADD', B .. 'failed', to_failed)
  end
  for _, rule in pairs(finished) do
    evict(rule)
  end
end

local held = {}
local function hand_over(id, h)
  held[#held + 1] = { id, h[1] or '', h[2] or '', h[3] or '', h[4] or '0', h[5] or '0', h[6] or '0', h[7] or '0', h[8] or '',
    h[9] or '', h[10] or '' }
end
local HANDED = { 'name', 'data', 'opts', 'timestamp', 'atm', 'ats', 'stc', 'defa', 'lk:c', 'processedOn', 'lk:at',
  'priority' }

local function resume(token)
  each_active(function(id, lock)
    if lock == token then
      hand_over(id, call('HMGET', B .. id, unpack(HANDED)))
    end
  end, true)
  return #held > 0
end

-- Whether a job that has been taken is handed out as expired, which is no start.
local function expired(id, h)
  local before, slot = tonumber(options(h[3]).startBefore), tonumber(id:match('^repeat:.*:(%d+)$'))
  return before ~= nil and before < now and h[6] == '1' and not (slot and before < slot)
end

-- Makes due jobs ready.
local function promote_due()
  local due = call('ZRANGEBYSCORE', B .. 'delayed', '-inf', (now + 1) * 4096 - 1, 'LIMIT', 0, 200)
  if #due > 0 then
    call('ZREM', B .. 'delayed', unpack(due))
    for _, id in ipairs(due) do
      promote(B, id)
    end
  end
  return #due
end

-- Whether the queue has groups, or has had some before this script.
local function any_groups()
  return meta(B).groups or lanes[B]
end

-- Takes jobs with a priority off, but for the heads of groups.
local function pop_prioritized(most)
  if not any_groups() then
    local popped, ids = call('ZPOPMIN', B .. 'prioritized', most), {}
    for n = 1, #popped, 2 do
      ids[#ids + 1] = popped[n]
    end
    return ids
  end
  local ids = call('ZRANGEBYSCORE', B .. 'prioritized', '-inf', '(' .. string.format('%.17g', HEAD), 'LIMIT', 0, most)
  each('ZREM', B .. 'prioritized', ids)
  return ids
end

local next_code, next_at, group_at = 'M', 0, nil
local token, most = ARGV[4], tonumber(ARGV[5])
local own = ARGV[8] ~= ''
local max = meta(B).max or tonumber(ARGV[8])
local per = meta(B).max and meta(B).per or tonumber(ARGV[9])
local slots = meta(B).slots

if token ~= '' and not (ARGV[7] == '1' and resume(token)) then
  local promoted = promote_due()
  if meta(B).paused then
    next_code = 'P'
  else
    local until_then, used = limiter(max)
    local room = most
    if until_then then
      room = 0
    elseif max then
      room = math.min(room, max - used)
    end
    if slots then
      room = math.min(room, slots - call('LLEN', B .. 'active'))
    end
    local woken = any_groups() and groups.wake(groups.lane(B)) or 0
    local ids = {}
    if room > 0 then
      ids = call('RPOP', B .. 'wait', room) or {}
      if #ids < room then
        local more = pop_prioritized(room - #ids)
        if #more == 0 then
          call('DEL', B .. 'pc')
        end
        for _, id in ipairs(more) do
          ids[#ids + 1] = id
        end
      end
    end
    local taken, missing, astray, counted, busy = {}, {}, 0, 0, false
    local function activate(id, h)
      local key = B .. id
      taken[#taken + 1] = id
      waits[#waits + 1] = math.max(0, now - (tonumber(h[11]) or tonumber(h[4]) or now))
      h[6] = tostring((tonumber(h[6]) or 0) + 1)
      h[10] = tostring(now)
      call('SET', key .. ':lock', token, 'PX', ARGV[6])
      tell(B, 'active', 'jobId', id, 'prev', 'waiting')
      call('HSET', key, 'processedOn', now, 'pb', worker, 'ats', h[6])
      hand_over(id, h)
      if max and not h[8] and not expired(id, h) then
        counted = counted + 1
      end
    end
    for _, id in ipairs(ids) do
      local h = call('HMGET', B .. id, unpack(HANDED))
      if tonumber(h[12]) == GROUPED and groups.enter(B, id, false, true) then
        astray = astray + 1
      elseif h[4] or h[1] then
        activate(id, h)
      elseif id:sub(1, 2) ~= '0:' then
        missing[#missing + 1] = id
      end
    end
    if #ids < room and any_groups() then
      groups.look_abroad(groups.lane(B))
      busy = groups.hand_out(groups.lane(B), room - #ids + astray, function(id)
        local h = call('HMGET', B .. id, unpack(HANDED))
        if h[4] or h[1] then
          activate(id, h)
          return true, not h[8]
        end
        missing[#missing + 1] = id
      end)
    end
    each('LPUSH', B .. 'active', taken)
    each('LPUSH', B .. 'wait', missing)
    if max and counted > 0 then
      local count = call('INCRBY', B .. 'limiter', counted)
      if count == counted and per then
        call('PEXPIRE', B .. 'limiter', per - 1)
        call('HSET', B .. 'meta', 'lk:window', now)
      end
    end
    changed = changed or #taken > 0
    local left = call('LLEN', B .. 'wait') + call('ZCARD', B .. 'prioritized')
    local ghosts = #taken == 0 and #missing > 0 -- what nobody can take is no reason to look again at once
    if ghosts then
      left = left - #missing
    elseif room > 0 and #ids + #taken == 0 and not busy then
      left = 0 -- it stands among the heads of groups and is none, until a rescue
    end
    if busy or math.max(promoted, woken) == 200 then
      next_code = 'M'
    elseif left > 0 then
      until_then = limiter(max)
      if until_then then
        next_code, next_at = 'L', until_then
      elseif full(B) then
        next_code = 'F'
      elseif ghosts then
        next_code, next_at = 'T', now + 1000
      end
    else
      local first = tonumber(call('ZRANGE', B .. 'delayed', 0, 0, 'WITHSCORES')[2])
      local due = first and first < PARKED and math.floor(first / 4096)
      group_at = any_groups() and groups.next(groups.lane(B))
      if group_at then
        next_code, next_at = 'L', due and math.min(due, group_at) or group_at
      elseif due then
        next_code, next_at = 'T', due
      else
        next_code = first and 'F' or 'E'
      end
    end
    if left > 0 and not ghosts and not full(B) and (changed or (not limiter(meta(B).max) and (own or not limiter(max)))) then
      call('ZADD', B .. 'marker', 0, '0')
    elseif left == 0 and changed and group_at then
      call('ZADD', B .. 'marker', 0, '0') -- others are to know when a group may start something
    end
  end
elseif changed and not meta(B).paused then
  if call('LLEN', B .. 'wait') + call('ZCARD', B .. 'prioritized') > 0 then
    mark(B)
  elseif any_groups() and groups.next(groups.lane(B)) then
    call('ZADD', B .. 'marker', 0, '0')
  end
end
if any_due then
  mark_due(B)
end
if any_final and call('EXISTS', B .. 'wait', B .. 'paused', B .. 'prioritized', B .. 'active') == 0
  and not (any_groups() and call('ZCOUNT', B .. 'delayed', PARKED, '+inf') > 0) then
  tell(B, 'drained')
end

-- What the minute saw: BullMQ's counters, and times of ours.
local function count(name, n)
  local key = B .. 'metrics:' .. name
  local before = call('HINCRBY', key, 'count', n) - n
  local v = call('HMGET', key, 'prevTS', 'prevCount')
  if not v[1] then
    call('HSET', key, 'prevTS', now, 'prevCount', 0)
    return
  end
  local passed = math.min(math.floor(now / 60000) - math.floor(tonumber(v[1]) / 60000), 20160)
  if passed > 0 then
    local points = { before - (tonumber(v[2]) or 0) }
    for _ = 2, passed do
      points[#points + 1] = 0
    end
    each('LPUSH', key .. ':data', points)
    call('LTRIM', key .. ':data', 0, 20159)
    call('HSET', key, 'prevCount', before, 'prevTS', now)
  end
end
if minute.done > 0 then
  count('completed', minute.done)
end
if minute.dead > 0 then
  count('failed', minute.dead)
end

local LIMITS = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000 }
local function add_times(row, from, times)
  for _, time in ipairs(times) do
    local bucket = #LIMITS + 1
    for i, limit in ipairs(LIMITS) do
      if time <= limit then
        bucket = i
        break
      end
    end
    row[from + bucket] = row[from + bucket] + 1
    row[from + #LIMITS + 2] = row[from + #LIMITS + 2] + time
  end
end
if minute.done + minute.dead + #waits + #runs > 0 then
  local number, key = ARGV[10], O .. 'minutes'
  local old = call('HGET', key, number)
  local row = old and cmsgpack.unpack(old)
  if not row then
    row = {}
    for i = 1, 38 do
      row[i] = 0
    end
    call('ZADD', O .. 'minute', number, number)
    local outdated = call('ZRANGEBYSCORE', O .. 'minute', '-inf', tonumber(number) - 20160, 'LIMIT', 0, 100)
    if #outdated > 0 then
      call('ZREM', O .. 'minute', unpack(outdated))
      call('HDEL', key, unpack(outdated))
    end
  end
  row[1], row[2] = row[1] + minute.done, row[2] + minute.dead
  add_times(row, 2, waits)
  add_times(row, 20, runs)
  call('HSET', key, number, cmsgpack.pack(row))
end
trim()
return { table.concat(answers), held, next_code, next_at }
