-- One step of an operation over many jobs.
-- ARGV: now, what, from place, last score, cursor a, cursor b, most, dry, name, kind, text, since ms, group ('' each when not
-- asked; the first cursor is '' and 0).
local what, place, last, most, dry = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[7]), ARGV[8] == '1'
local a, b = tonumber(ARGV[5]), tonumber(ARGV[6])
local LISTED = '0' -- the cursor of what stands in a list
local GONE = '\0' -- no id
local found, ats = {}, {}
local function add(ids, their)
  for n, id in ipairs(ids) do
    found[#found + 1] = id
    ats[#found] = their and their[n] or LISTED
  end
end

-- Ready jobs stand behind heads of groups, in a list from its end on, and in a set; the heads come last: those of which one
-- becomes a head because another is removed have been looked at then.
if place == 'wait' then
  local grouped, from, skip = has_groups(), a, b
  local function part(mine, look)
    if #found < most and (not from or mine) then
      add(look(from, skip, most - #found))
      from, skip = nil, 0
    end
  end
  local function set(which)
    return function(...)
      return some_of(which, ...)
    end
  end
  local behind = from and from >= PARKED
  if grouped or behind then
    part(behind, set(BEHIND))
  end
  part(from == 0, function(_, over, many)
    return places.waiting(B, over, many)
  end)
  part(from and from > 0 and not behind, set(WITH_PRIORITY))
  if grouped then
    part(from and from < 0, set(HEADS))
  end
else
  local to = place == 'delayed' and '(' .. string.format('%.17g', PARKED) or last
  local page = call('ZRANGEBYSCORE', B .. place, a or '-inf', to, 'WITHSCORES', 'LIMIT', b, most)
  for n = 1, #page, 2 do
    add({ page[n] }, { string.format('%.0f', tonumber(page[n + 1])) })
  end
end

local FIELD = { 'name', 'lk:kind', 'failedReason', 'lk:at', 'timestamp', 'finishedOn', 'lk:g' }
local function chosen(id)
  if ARGV[9] == '' and ARGV[10] == '' and ARGV[11] == '' and ARGV[12] == '' and ARGV[13] == '' then
    return call('EXISTS', B .. id) == 1
  end
  local h = call('HMGET', B .. id, unpack(FIELD))
  local dead = place == 'failed'
  local since = tonumber((dead or place == 'completed') and h[6] or h[4] or h[5]) or 0
  return h[1] and (ARGV[9] == '' or h[1] == ARGV[9])
    and (ARGV[10] == '' or (dead and h[3] and (h[2] or 'error') == ARGV[10]))
    and (ARGV[11] == '' or (dead and h[3] and h[3]:find(ARGV[11], 1, true)))
    and (ARGV[12] == '' or since >= tonumber(ARGV[12])) and (ARGV[13] == '' or h[7] == ARGV[13])
end

local done, left = {}, {}
for n, id in ipairs(found) do
  if chosen(id) then
    done[#done + 1] = id
    left[id] = not dry
  end
end

-- Takes the chosen waiting ones off their lists: marked where they stand, they leave each in one walk over what the sweep has
-- passed.
local function unlist_all()
  local apart, marked, at = call('LLEN', B .. 'paused'), { paused = 0, wait = 0 }, a == 0 and b or 0
  for n, id in ipairs(found) do
    if ats[n] == LISTED then
      if left[id] then
        local list, index = 'wait', at - apart
        if at < apart then
          list, index = 'paused', at
        end
        call('LSET', B .. list, -index - 1, GONE)
        marked[list] = marked[list] + 1
      end
      at = at + 1
    end
  end
  for list, count in pairs(marked) do
    if count > 0 then
      call('LREM', B .. list, -count, GONE)
    end
  end
end

-- Takes the chosen ones off where they stand.
local function take_all()
  if place ~= 'wait' then
    each('ZREM', B .. place, done)
    return
  end
  unlist_all()
  local plain = {}
  for n, id in ipairs(found) do
    local at = tonumber(ats[n])
    if left[id] and (at < 0 or at >= PARKED) then
      groups.take_off(B, id, 'prioritized', at < 0 and HEAD or at)
    elseif left[id] and ats[n] ~= LISTED then
      plain[#plain + 1] = id
    end
  end
  each('ZREM', B .. 'prioritized', plain)
end

if not dry and #done > 0 then
  if what == 'retry' then
    for _, id in ipairs(done) do
      revive(B .. id, id, 'failed', false)
    end
    mark(B)
  elseif what == 'promote' then
    each('ZREM', B .. 'delayed', done)
    for _, id in ipairs(done) do
      places.promote(B, id)
    end
    mark(B)
  else
    take_all()
    places.forget(B, done, true)
  end
end
if not dry and what == 'clean' then
  tell(B, 'cleaned', 'count', #done)
end

-- What stays before the next step: the scanned ones that are still there, with the cursor of the last one.
local next_a, next_b = '', ''
if #found == most and most > 0 then
  local at = ats[#found]
  local kept = a == tonumber(at) and b or 0
  for n, id in ipairs(found) do
    if ats[n] == at and not left[id] then
      kept = kept + 1
    end
  end
  next_a, next_b = at, tostring(kept)
end
keep_groups()
return { done, #found, next_a, next_b }
