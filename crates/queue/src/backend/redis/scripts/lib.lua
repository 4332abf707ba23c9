-- What the scripts share. KEYS[1]: "<prefix>:<queue>:", KEYS[2]: "<prefix>::lk:<queue>:", ARGV[1]: now in milliseconds.
-- A base ("b") is the first of these, of this queue or of a parent's.
local B, O, now = KEYS[1], KEYS[2], tonumber(ARGV[1])
local call = redis.call

local HELD = 9007199254740991 -- the count of a limiter that is held by hand
local CLASS = 4294967296 -- between the scores of two priorities
local CUT = 1000 -- arguments of one variadic command
local GROUPED = 2097152 -- the priority of a job of a group: BullMQ's lowest, behind all of ours
local LAST = 4194303 -- the last priority before the heads; another client may give any
local HEAD = 2 ^ 54 -- scores of the heads of groups begin here, behind all priorities
local PARKED = 2 ^ 62 -- scores of the jobs behind them, among the delayed ones, behind all times
local LINE = 2 ^ 42 -- scores of one group's line
local lanes = {} -- what is known of the groups of a queue
-- What groups.lua has: made at its first use, since most calls have none.
local loaders = {}
local groups = setmetatable({}, { __index = function(all, name)
  for _, load in ipairs(loaders) do
    load()
  end
  return rawget(all, name)
end })
local PREFIX = B:match('^(.*):[^:]*:$')

-- What our own keys of a queue begin with, by its base.
local function own_of(b)
  if b == B then
    return O
  end
  local prefix, queue = b:match('^(.*):([^:]*):$')
  return (prefix or '') .. '::lk:' .. (queue or b) .. ':'
end
local STALLED = 'job stalled more than allowable limit' -- BullMQ's word; it goes before what a child's failure says

-- Calls a command with a key and many arguments, in pieces.
local function each(command, key, list)
  for i = 1, #list, CUT do
    call(command, key, unpack(list, i, math.min(i + CUT - 1, #list)))
  end
end

local function delete(keys)
  for i = 1, #keys, CUT do
    call('UNLINK', unpack(keys, i, math.min(i + CUT - 1, #keys)))
  end
end

-- Sets a key for a time. The server keeps it through the millisecond in which its time is over; here it is over then.
local function expiring(key, value, time)
  call('SET', key, value, 'PX', math.max(time - 1, 1))
end

local metas = {}
local function meta(b)
  local known = metas[b]
  if not known then
    local v = call('HMGET', b .. 'meta', 'paused', 'concurrency', 'max', 'duration', 'opts.maxLenEvents', 'lk:groups', 'version')
    if not v[5] then
      v[5] = '10000'
      call('HSET', b .. 'meta', 'opts.maxLenEvents', v[5])
    end
    known = { paused = v[1] ~= false, slots = tonumber(v[2]), max = tonumber(v[3]), per = tonumber(v[4]), events = v[5],
      groups = v[6], old = v[7] and v[7]:find('^bullmq:[0-5]%.') ~= nil }
    metas[b] = known
  end
  return known
end

local function tell(b, ...)
  meta(b).told = true
  call('XADD', b .. 'events', '*', 'event', ...)
end

-- Writes back what is known of groups and cuts the streams that were written to; to be called at the end of a script.
local function trim()
  if next(lanes) then
    groups.store()
  end
  for b, known in pairs(metas) do
    if known.told then
      call('XTRIM', b .. 'events', 'MAXLEN', '~', known.events)
    end
  end
end

local function full(b)
  local slots = meta(b).slots
  return slots ~= nil and call('LLEN', b .. 'active') >= slots
end

-- Says that something may be taken.
local function mark(b)
  if not meta(b).paused and not full(b) then
    call('ZADD', b .. 'marker', 0, '0')
  end
end

-- Says when the next delayed job is due.
local function mark_due(b)
  local first = call('ZRANGE', b .. 'delayed', 0, 0, 'WITHSCORES')
  if first[2] and tonumber(first[2]) < PARKED then
    call('ZADD', b .. 'marker', tonumber(first[2]) / 4096, '1')
  end
end

-- Puts a job among the delayed ones.
local function delay(b, id, due)
  local low = due * 4096
  local top = call('ZREVRANGEBYSCORE', b .. 'delayed', low + 4095, low, 'WITHSCORES', 'LIMIT', 0, 1)
  local score = top[2] and math.min(tonumber(top[2]) + 1, low + 4095) or low
  call('ZADD', b .. 'delayed', score, id)
end

-- The list that new jobs wait in. BullMQ 5 sets the jobs of a paused queue apart, and its resume puts that list in the place
-- of "wait", whatever stands there.
local function list_of(b)
  local known = meta(b)
  local apart = known.paused
    and (call('EXISTS', b .. 'paused') == 1 or (known.old and call('EXISTS', b .. 'wait') == 0))
  return b .. (apart and 'paused' or 'wait')
end

-- Jobs that wait without a priority, next to run first: those that BullMQ 5 has set apart, then the others.
local function waiting(b, skip, most)
  local apart, ids = call('LLEN', b .. 'paused'), {}
  for _, part in ipairs({ { 'paused', skip }, { 'wait', math.max(skip - apart, 0) } }) do
    local list, from, count = part[1], part[2], most - #ids
    local page = count > 0 and call('LRANGE', b .. list, -(from + count), -(from + 1)) or {}
    for n = #page, 1, -1 do
      ids[#ids + 1] = page[n]
    end
  end
  return ids
end

-- Takes a job that waits without a priority off its list; answers whether it stood there.
local function unlist(b, id)
  local found = call('LREM', b .. 'wait', -1, id)
  return found > 0 and found or call('LREM', b .. 'paused', -1, id)
end

-- Puts a job among the ready ones: behind its class or its group, or in front of it. One that its script does not put into its
-- group, the next take does.
local function ready(b, id, priority, front)
  if priority == GROUPED and groups.enter and groups.enter(b, id, front) then
    return
  end
  if priority ~= 0 then
    local score = math.min(LAST, priority) * CLASS
    if front then
      local first = call('ZRANGEBYSCORE', b .. 'prioritized', score - CLASS / 2, score, 'WITHSCORES', 'LIMIT', 0, 1)
      score = first[2] and tonumber(first[2]) - 1 or score
    else
      score = score + call('INCR', b .. 'pc') % CLASS
    end
    call('ZADD', b .. 'prioritized', score, id)
  else
    call(front and 'RPUSH' or 'LPUSH', list_of(b), id)
  end
end

-- A job's options; what cannot be read says nothing.
local function options(json)
  local ok, opts = pcall(cjson.decode, json or '{}')
  return ok and type(opts) == 'table' and opts or {}
end

-- Whether a job goes to the front of the line in which it stands by its own wish.
local function goes_first(priority, json)
  return (priority == 0 or priority == GROUPED) and options(json).lifo == true
end

-- A job whose time has come, or has been brought forward, is ready; it has been taken off the delayed ones.
local function promote(b, id)
  local priority = call('HGET', b .. id, 'priority')
  ready(b, id, tonumber(priority) or 0, false)
  tell(b, 'waiting', 'jobId', id, 'prev', 'delayed')
  if priority or call('EXISTS', b .. id) == 1 then
    call('HSET', b .. id, 'delay', 0, 'lk:at', now)
  end
end

-- Goes through the active jobs with the token of each one's lock, the oldest first: it stands last. Of very many it goes through
-- the oldest, or the newest.
local function each_active(visit, newest)
  local first, last = -5000, -1
  if newest then
    first, last = 0, 4999
  end
  local active = call('LRANGE', B .. 'active', first, last)
  for to = #active, 1, -CUT do
    local from, keys = math.max(1, to - CUT + 1), {}
    for n = from, to do
      keys[#keys + 1] = B .. active[n] .. ':lock'
    end
    local locks = call('MGET', unpack(keys))
    for n = to, from, -1 do
      visit(active[n], locks[n - from + 1])
    end
  end
end

-- Where a job is, and its score there; what is in no ordered set and not active waits. No list is walked but the active ones.
-- A job behind the head of its group is a prioritized one.
local ORDERED = { 'completed', 'failed', 'delayed', 'prioritized', 'waiting-children' }
local function where(b, id)
  for _, name in ipairs(ORDERED) do
    local score = call('ZSCORE', b .. name, id)
    if score then
      return tonumber(score) >= PARKED and 'prioritized' or name, score
    end
  end
  if call('LPOS', b .. 'active', id, 'RANK', -1) then
    return 'active'
  end
  return call('EXISTS', b .. id) == 1 and 'wait' or nil
end

-- A new job's record.
local function store(b, id, name, data, opts, priority, wait, more)
  call('HSET', b .. id, 'name', name, 'data', data, 'opts', opts, 'timestamp', now, 'delay', wait, 'priority', priority,
    unpack(more or {}))
  tell(b, 'added', 'jobId', id, 'name', name)
end

-- A new job gets its place.
local function enqueue(b, id, priority, wait, front)
  if wait > 0 then
    delay(b, id, now + wait)
    tell(b, 'delayed', 'jobId', id, 'delay', now + wait)
    mark_due(b)
  else
    ready(b, id, priority, front and (priority == 0 or priority == GROUPED))
    tell(b, 'waiting', 'jobId', id)
    mark(b)
  end
end

-- A job has ended for good: it gives its deduplication id up unless that is owned for longer, and what waited for its end
-- is added.
local function dedup_ended(b, id, de)
  local key = b .. 'de:' .. de
  local left = call('PTTL', key)
  if left == 0 or (left == -1 and call('GET', key) == id) then
    call('DEL', key)
  end
  local last = b .. 'dn:' .. de
  local v = call('HMGET', last, 'name', 'data', 'opts', 'jid', 'pk', 'pd', 'pdk', 'rjk', 'lk:of')
  if not v[1] or (v[9] and v[9] ~= id) then
    return
  end
  call('DEL', last)
  local count = call('INCR', b .. 'id')
  local new = v[4] or tostring(count)
  if call('EXISTS', b .. new) == 1 then
    tell(b, 'duplicated', 'jobId', new)
    return
  end
  local opts = options(v[3])
  local dedup = type(opts.de) == 'table' and opts.de or {}
  if call('EXISTS', key) == 0 then
    local time = tonumber(dedup.ttl) or 0
    if time > 0 and dedup.keepLastIfActive ~= true then
      expiring(key, new, time)
    else
      call('SET', key, new)
    end
  end
  local wait, priority = tonumber(opts.delay) or 0, tonumber(opts.priority) or 0
  local of = priority == GROUPED and type(opts.gr) == 'string' and opts.gr or nil
  local more = { 'deid', de }
  for name, value in pairs({ parentKey = v[5], parent = v[6], rjk = v[8], ['lk:g'] = of }) do
    if value then
      more[#more + 1], more[#more + 2] = name, value
    end
  end
  store(b, new, v[1], v[2], v[3], priority, wait, more)
  enqueue(b, new, priority, wait, opts.lifo == true)
  if v[7] then
    call('SADD', v[7], b .. new)
  end
end

-- A job is removed: its deduplication id is free, and nothing runs after it.
local function dedup_removed(b, id, de)
  if de then
    local key = b .. 'de:' .. de
    if call('GET', key) == id then
      call('DEL', key, b .. 'dn:' .. de)
    end
  end
end

-- The hold or the full window of a limiter: when it ends, or nil; and how much of it is used.
local function limiter(max)
  local used = tonumber(call('GET', B .. 'limiter')) or 0
  if used == 0 or not (used >= HELD or (max and used >= max)) then
    return nil, used
  end
  local left = call('PTTL', B .. 'limiter')
  if left >= 0 then
    return now + left + 1, used
  end
  return nil, 0
end

-- Holds everything back until then, or longer if that is said already.
local function hold(until_then)
  if until_then > now and (limiter() or 0) < until_then then
    expiring(B .. 'limiter', HELD, until_then - now)
  end
end

-- The failure kinds that are not a plain error are kept beside the text.
local function failure(list, reason, kind)
  local n = #list
  list[n + 1], list[n + 2], list[n + 3], list[n + 4] = 'failedReason', reason, 'lk:kind', kind
end
