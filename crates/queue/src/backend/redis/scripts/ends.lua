-- A turn: held jobs end, then others are taken.
-- ARGV: now, worker, ends, token, most, lock ms, resume, rate max, rate ms, minute, then the ends in runs of like ones. For each
-- run: how many, token, outcome, at, kind, keep count, keep ms; for each of its ends: id, text, ran ms.
local worker, ends = ARGV[2], tonumber(ARGV[3])
local finished, rules, any_due = {}, {}, false
local deleted, unstalled, gone = {}, {}, {}
local to_completed, to_failed = {}, {}
local any_final, changed, stirs = false, ends > 0, false
local limiter -- what its key says; nil when that is not known

-- What is of another type than it is to be shows before anything is changed.
call('XLEN', B .. 'events')
call('LLEN', B .. 'active')
if ends > 0 then
  call('ZCARD', B .. 'completed')
  call('ZCARD', B .. 'failed')
  call('SCARD', B .. 'stalled')
end

local function settle(run, at, lock)
  local id, token, outcome = ARGV[at], run.token, run.outcome
  local key = B .. id
  local h = redis.pcall('HMGET', key, 'priority', 'atm', 'parentKey', 'deid', 'defa')
  if h.err or gone[id] or (not h[1] and call('EXISTS', key) == 0) then
    return 'G'
  end
  if lock ~= token or not leave(id) then
    return call('HGET', key, 'lk:s') == token and 'A' or 'L'
  end
  local text, priority = ARGV[at + 1], tonumber(h[1]) or 0
  local grouped = priority == GROUPED
  if outcome == 'c' or outcome == 'f' then
    local made, good = after(h[2] or '0'), outcome == 'c'
    local kind, rule = run.kind, run.rule
    any_final = true
    if h[4] then
      places.beside(dedup.ended, B, id, h[4])
    end
    if grouped then
      groups.left(B, id)
    end
    if not rule then
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
      rule.times = rule.times + 1
    end
    if good then
      done = done + 1
      tell(B, 'completed', 'jobId', id, 'returnvalue', text, 'prev', 'active')
    else
      dead = dead + 1
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
      -- It has ended, whatever its parent is.
      pcall(good and kin.child_completed or kin.child_failed, key, h[3], call('HGET', key, 'parent'), text)
    end
    if gone[id] then
      gather(B, { id }, false, deleted)
    end
    return 'D'
  end
  local set = { 'lk:s', token, 'lk:at', stamp }
  local due = run.due
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
      'lk:kind', run.kind
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
      limiter = nil
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
  local alike, keys, seen, next_run = {}, {}, {}, 11
  -- What is kept of those that finish is said for each run, and counted for all that say the same.
  while ARGV[next_run] do
    local at = next_run
    local run = { token = ARGV[at + 1], outcome = ARGV[at + 2], due = tonumber(ARGV[at + 3]), kind = ARGV[at + 4], first = at + 7,
      last = at + 7 + 3 * (tonumber(ARGV[at]) - 1) }
    local good, count, age = run.outcome == 'c', ARGV[at + 5], ARGV[at + 6]
    if (good or run.outcome == 'f') and count ~= '0' then
      local name = run.outcome .. count .. ':' .. age
      if not finished[name] then
        finished[name] = { good = good, count = tonumber(count), age = tonumber(age), times = 0 }
        rules[#rules + 1] = finished[name]
      end
      run.rule = finished[name]
    end
    for n = run.first, run.last, 3 do
      keys[#keys + 1] = B .. ARGV[n] .. ':lock'
    end
    alike[#alike + 1], next_run = run, run.last + 3
  end
  keys[ends + 1] = B .. 'limiter'
  local locks = call('MGET', unpack(keys))
  limiter = locks[ends + 1]
  if ends >= ENOUGH then
    local ending, i = {}, 0
    for _, run in ipairs(alike) do
      for at = run.first, run.last, 3 do
        i = i + 1
        ending[ARGV[at]] = locks[i] == run.token
      end
    end
    leave_together(ending, ends)
  end
  for _, run in ipairs(alike) do
    for at = run.first, run.last, 3 do
      local i, id = #answers + 1, ARGV[at]
      local written, code = pcall(settle, run, at, not seen[id] and locks[i])
      if not written then -- of another shape than it is to be: it stays as it is, and keeps no other from its end
        if left[id] then
          call('RPUSH', B .. 'active', id)
        end
        code = 'L'
      end
      if code == 'D' then
        seen[id], deleted[#deleted + 1], unstalled[#unstalled + 1] = true, keys[i], id
        count_run(ARGV[at + 2])
      end
      answers[i] = code
    end
  end
  if #unstalled > 0 then
    local unknown = call('EXISTS', B .. 'stalled', O .. 'families') > 0
    if unknown then
      each('SREM', B .. 'stalled', unstalled)
    end
    each('ZADD', B .. 'completed', to_completed)
    each('ZADD', B .. 'failed', to_failed)
    for _, rule in ipairs(rules) do
      local old = outdated(rule)
      -- No parent waits for a child that has completed.
      if #old > 0 and rule.good and (not unknown or call('EXISTS', O .. 'families') == 0) then
        for _, id in ipairs(old) do
          keys_of(B, id, deleted)
        end
      else
        gather(B, old, false, deleted)
      end
    end
  end
  delete(deleted)
end
