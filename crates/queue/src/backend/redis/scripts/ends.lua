-- A turn: held jobs end, then others are taken.
-- ARGV: now, worker, ends, token, most, lock ms, resume, rate max, rate ms, minute, then for each end:
-- id, token, outcome, at, text, kind, keep count, keep ms, ran ms.
local worker, ends = ARGV[2], tonumber(ARGV[3])
local END = 9
local finished, last, any_due = {}, {}, false
local deleted, unstalled, gone = {}, {}, {}
local to_completed, to_failed = {}, {}
local minute = { done = 0, dead = 0 }
local waits, runs = {}, {}
local any_final, changed, stirs = false, ends > 0, false

-- The count after another one, as texts.
local AFTER = { ['0'] = '1', ['1'] = '2', ['2'] = '3' }
local function after(count)
  return AFTER[count] or string.format('%d', (tonumber(count) or 0) + 1)
end

-- The oldest active jobs, which are most of those that end, when there are enough of them: id -> whether it stands there still.
-- They leave together.
local ENOUGH, MOST = 8, 1000
local oldest, stands, leaving = {}, {}, 0
if ends >= ENOUGH then
  oldest = call('LRANGE', B .. 'active', -math.min(2 * ends, MOST), '-1')
  for _, id in ipairs(oldest) do
    stands[id] = true
  end
end

-- Takes a job off the active ones; answers whether it was there.
local function leave(id)
  if not stands[id] then
    return call('LREM', B .. 'active', '-1', id) > 0
  end
  stands[id], leaving = false, leaving + 1
  return true
end

local function settle(at, lock_key, lock)
  local id, token, outcome = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local key = B .. id
  local h = call('HMGET', key, 'priority', 'atm', 'parentKey', 'deid', 'defa')
  if gone[id] or (not h[1] and call('EXISTS', key) == 0) then
    return 'G'
  end
  if lock ~= token or not leave(id) then
    return call('HGET', key, 'lk:s') == token and 'A' or 'L'
  end
  deleted[#deleted + 1], unstalled[#unstalled + 1] = lock_key, id
  local text, priority = ARGV[at + 4], tonumber(h[1]) or 0
  local grouped = priority == GROUPED
  if outcome == 'c' or outcome == 'f' then
    local made, good = after(h[2] or '0'), outcome == 'c'
    local kind, count, age = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
    any_final = true
    if h[4] then
      places.beside(dedup.ended, B, id, h[4])
    end
    if grouped then
      groups.left(B, id)
    end
    if count == '0' then
      gone[id] = true
    else
      if good then
        call('HSET', key, 'atm', made, 'finishedOn', stamp, 'lk:s', token, 'returnvalue', text)
        to_completed[#to_completed + 1], to_completed[#to_completed + 2] = stamp, id
      else
        call('HSET', key, 'atm', made, 'finishedOn', stamp, 'lk:s', token, 'failedReason', text, 'lk:kind', kind)
        to_failed[#to_failed + 1], to_failed[#to_failed + 2] = stamp, id
      end
      if h[5] then
        call('HDEL', key, 'defa', 'lk:c')
      end
      if last.outcome ~= outcome or last.count ~= count or last.age ~= age then
        local rule = outcome .. count .. ':' .. age
        last = finished[rule] or { outcome = outcome, count = count, age = age, times = 0 }
        finished[rule] = last
      end
      last.times = last.times + 1
    end
    if good then
      minute.done = minute.done + 1
      tell(B, 'completed', 'jobId', id, 'returnvalue', text, 'prev', 'active')
    else
      minute.dead = minute.dead + 1
      if kind == 'error' then
        tell(B, 'failed', 'jobId', id, 'failedReason', text, 'prev', 'active')
      else
        tell(B, 'failed', 'jobId', id, 'failedReason', text, 'prev', 'active', 'lk:kind', kind)
      end
      if tonumber(made) >= (tonumber(places.options(call('HGET', key, 'opts')).attempts) or 0) then
        tell(B, 'retries-exhausted', 'jobId', id, 'attemptsMade', made)
      end
    end
    if h[3] then
      places.beside(good and kin.child_completed or kin.child_failed, key, h[3], call('HGET', key, 'parent'), text)
    end
    if gone[id] then
      places.beside(gather, B, { id }, false, deleted)
    end
    return 'D'
  end
  local set = { 'lk:s', token, 'lk:at', stamp }
  local due = tonumber(ARGV[at + 3])
  local function again()
    if due > now then
      set[#set + 1], set[#set + 2] = 'delay', due - now
      if grouped then
        groups.left(B, id)
      end
      places.delay(B, id, due)
      tell(B, 'delayed', 'jobId', id, 'delay', due)
      any_due = true
    else
      places.ready(B, id, priority, places.goes_first(priority, call('HGET', key, 'opts')))
      tell(B, 'waiting', 'jobId', id, 'prev', 'active')
    end
  end
  if outcome == 'r' then
    local n = #set
    set[n + 1], set[n + 2], set[n + 3], set[n + 4], set[n + 5], set[n + 6] = 'atm', after(h[2] or '0'), 'failedReason', text,
      'lk:kind', ARGV[at + 5]
    again()
  elseif outcome == 'l' then
    again()
  elseif outcome == 'w' and call('SCARD', key .. ':dependencies') > 0 and not (h[5] and h[5]:sub(1, 6) == 'child ') then
    if grouped then
      groups.left(B, id)
    end
    call('ZADD', B .. 'waiting-children', now, id)
    tell(B, 'waiting-children', 'jobId', id, 'prev', 'active')
  elseif outcome == 'w' and call('HEXISTS', key, 'lk:f') == 0
    and call('EXISTS', key .. ':dependencies', key .. ':processed', key .. ':failed', key .. ':unsuccessful') == 0 then
    due = now + 1000
    again()
  else
    if outcome == 's' then
      places.hold(due)
    elseif outcome == 'g' and grouped then
      groups.hold(B, id, due)
    end
    places.ready(B, id, priority, true)
    tell(B, 'waiting', 'jobId', id, 'prev', 'active')
  end
  call('HSET', key, unpack(set))
  return 'D'
end

local answers = {}
if ends > 0 then
  local keys, seen = {}, {}
  for i = 1, ends do
    keys[i] = B .. ARGV[11 + END * (i - 1)] .. ':lock'
  end
  local locks = call('MGET', unpack(keys))
  for i = 1, ends do
    local at = 11 + END * (i - 1)
    local id = ARGV[at]
    local code = settle(at, keys[i], not seen[id] and locks[i])
    if code == 'D' then
      seen[id] = true
      if ARGV[at + 8] ~= '' then
        runs[#runs + 1] = tonumber(ARGV[at + 8])
      end
    end
    answers[i] = code
  end
  if leaving > 0 then
    local rest = {}
    for _, id in ipairs(oldest) do
      if stands[id] then
        rest[#rest + 1] = id
      end
    end
    call('LTRIM', B .. 'active', '0', -#oldest - 1)
    each('RPUSH', B .. 'active', rest)
  end
  if #unstalled > 0 then
    if #unstalled < ENOUGH or call('EXISTS', B .. 'stalled') == 1 then
      each('SREM', B .. 'stalled', unstalled)
    end
    each('ZADD', B .. 'completed', to_completed)
    each('ZADD', B .. 'failed', to_failed)
  end
  -- Retention: the oldest go, at most two for each job that finished.
  for _, rule in pairs(finished) do
    local good, count, age = rule.outcome == 'c', tonumber(rule.count), tonumber(rule.age)
    local set, most = B .. (good and 'completed' or 'failed'), rule.times * 2
    local many = count and call('ZCARD', set) - count or 0
    if age and many < most then
      many = math.max(many, call('ZCOUNT', set, '-inf', now - age))
    end
    local to = math.min(many, most) - 1
    if to >= 0 then
      local old = call('ZRANGE', set, '0', to)
      call('ZREMRANGEBYRANK', set, '0', to)
      -- No parent waits for a child that has completed.
      gather(B, old, false, deleted, good and call('EXISTS', O .. 'families') == 0)
    end
  end
  delete(deleted)
end
