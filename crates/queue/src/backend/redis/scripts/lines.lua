-- Ready jobs that stand in ordered sets: first those with a priority, then the heads of groups, then the lines behind them.
-- A cursor is a number, and how many jobs with this number to pass over. Those of heads are below 0.
local WITH_PRIORITY, HEADS, BEHIND = 1, 2, 3
local SETS = {
  { key = B .. 'prioritized', from = '-inf', to = '(' .. string.format('%.17g', HEAD) },
  { key = O .. 'heads', from = '-inf', to = '+inf' },
  { key = B .. 'delayed', from = PARKED, to = '+inf' },
}

local function set_of(a)
  return a < 0 and HEADS or a >= PARKED and BEHIND or WITH_PRIORITY
end

local function has_groups()
  return call('HEXISTS', B .. 'meta', 'lk:groups') == 1
end

-- The head of a group; '' when another client has taken it away.
local function head_of(group)
  local packed = call('HGET', O .. 'groups', group)
  local id = packed and cmsgpack.unpack(packed)[12]
  return id and call('ZSCORE', B .. 'prioritized', id) and id or ''
end

-- At most so many jobs of one of the sets from a cursor on, or from its beginning: their ids and the texts of their cursors.
local function some_of(which, a, b, most)
  local set, ids, ats = SETS[which], {}, {}
  local from = set.from
  if a then
    from = which == HEADS and -2 - a or a
  end
  local page = call('ZRANGEBYSCORE', set.key, from, set.to, 'WITHSCORES', 'LIMIT', b, most)
  for n = 1, #page, 2 do
    if which == HEADS then
      ids[#ids + 1], ats[#ats + 1] = head_of(page[n]:sub(8)), string.format('%.0f', -2 - tonumber(page[n + 1]))
    else
      ids[#ids + 1], ats[#ats + 1] = page[n], string.format('%.0f', tonumber(page[n + 1]))
    end
  end
  return ids, ats
end
