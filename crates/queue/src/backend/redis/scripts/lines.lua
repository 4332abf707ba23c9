-- Ready jobs that stand in ordered sets: first those with a priority, then the heads of groups, then the lines behind them.
-- A cursor is a score, and in one number the set and how many jobs with this score to pass over. Another client may give any
-- score: those that no cursor can say are one to it. A cursor in a list is the mark of the job behind which it goes on, and in
-- one number the list and how many stood up to there.
local LISTED, WITH_PRIORITY, HEADS, BEHIND = 0, 1, 2, 3
local SETS = {
  { key = B .. 'prioritized', from = '-inf', to = '(' .. string.format('%.17g', HEAD) },
  { key = O .. 'heads', from = '-inf', to = '+inf' },
  { key = B .. 'delayed', from = PARKED, to = '+inf' },
}
local FAR = 2 ^ 63 - 1024

local function has_groups()
  return call('HEXISTS', B .. 'meta', 'lk:groups') == 1
end

-- The second number of a cursor, and what it says.
local function place_of(which, skip)
  return string.format('%.0f', skip * 4 + which)
end
local function placed(b)
  return b % 4, math.floor(b / 4)
end

-- The head of a group; '' when another client has taken it away.
local function head_of(group)
  local packed = call('HGET', O .. 'groups', group)
  local id = packed and cmsgpack.unpack(packed)[12]
  return id and call('ZSCORE', B .. 'prioritized', id) and id or ''
end

-- At most so many jobs of one of the sets from a score on, or from its beginning: their ids and the texts of their scores.
-- Without groups all that stands among the prioritized ones has a priority.
local function some_of(which, a, skip, most)
  local set, ids, ats = SETS[which], {}, {}
  local to = which == WITH_PRIORITY and not has_groups() and '+inf' or set.to
  local page = call('ZRANGEBYSCORE', set.key, a and a > -FAR and a or set.from, to, 'WITHSCORES', 'LIMIT', skip, most)
  for n = 1, #page, 2 do
    ids[#ids + 1] = which == HEADS and head_of(page[n]:sub(8)) or page[n]
    ats[#ats + 1] = string.format('%.0f', math.max(-FAR, math.min(FAR, tonumber(page[n + 1]))))
  end
  return ids, ats
end

local function mark_of(id)
  return tonumber(redis.sha1hex(id):sub(1, 12), 16)
end

-- Where a list goes on behind the job of a mark, of which `at` stood up to there: wherever that has moved to meanwhile. Nil when
-- it has moved further than is looked, or is gone.
local AROUND = 1000
local function behind(page_of, mark, at, back)
  local last = at > 0 and page_of(at - 1, 1)[1]
  if at == 0 or (last and mark_of(last) == mark) then
    return at
  end
  local first = math.max(at - back, 0)
  for n, id in ipairs(page_of(first, at + AROUND - first)) do
    if mark_of(id) == mark then
      return first + n
    end
  end
end
