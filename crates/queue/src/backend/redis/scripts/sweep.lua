-- One step of an operation over many jobs.
-- ARGV: now, what, from place, last score, cursor a, cursor b, most, dry, name, kind, text, since ms, group ('' each when not
-- asked; the first cursor is '' and 0).
local what, place, last, most, dry = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[7]), ARGV[8] == '1'
local a, b = tonumber(ARGV[5]), tonumber(ARGV[6])
local GONE = '\0' -- no id
local found, ats, sets = {}, {}, {}
local function add(which, ids, their)
  for n, id in ipairs(ids) do
    found[#found + 1] = id
    ats[#found], sets[#found] = their and their[n] or '', which
  end
end

-- Ready jobs stand behind heads of groups, in a list from its end on, and in a set; the heads come last: those of which one
-- becomes a head because another is removed have been looked at then.
local first = 0 -- how many stand in the list before those that are looked at
if place == 'wait' then
  local grouped, which, skip = has_groups(), nil, 0
  if a then
    which, skip = placed(b)
  end
  local going = not which
  for _, set in ipairs({ BEHIND, LISTED, WITH_PRIORITY, HEADS }) do
    local mine = set == which
    going = going or mine
    if going and #found < most then
      if set == LISTED then
        local function page_of(...)
          return places.waiting(B, ...)
        end
        -- When its place is lost it begins anew: what has been taken from the front is all that it could pass over.
        first = mine and behind(page_of, a, skip, 5000) or 0
        add(set, places.waiting(B, first, most - #found))
      elseif grouped or set == WITH_PRIORITY then
        add(set, some_of(set, mine and a or nil, mine and skip or 0, most - #found))
      end
    end
  end
else
  local to = place == 'delayed' and '(' .. string.format('%.17g', PARKED) or last
  local page = call('ZRANGEBYSCORE', B .. place, a or '-inf', to, 'WITHSCORES', 'LIMIT', b, most)
  for n = 1, #page, 2 do
    add(nil, { page[n] }, { string.format('%.0f', tonumber(page[n + 1])) })
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
  local apart, marked, at = call('LLEN', B .. 'paused'), { paused = 0, wait = 0 }, first
  for n, id in ipairs(found) do
    if sets[n] == LISTED then
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
    if left[id] and (sets[n] == HEADS or sets[n] == BEHIND) then
      groups.take_off(B, id, 'prioritized', HEAD)
    elseif left[id] and sets[n] == WITH_PRIORITY then
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

-- What stays before the next step: the scanned ones that are still there, with the score of the last one or in its list.
local next_a, next_b = '', ''
if #found == most and most > 0 then
  local at, set = ats[most], sets[most]
  local kept, which, skip = 0, nil, b
  if set then
    which, skip = placed(b)
  end
  if set == LISTED then
    kept = first
  elseif a and a == tonumber(at) and which == set then
    kept = skip
  end
  for n, id in ipairs(found) do
    if ats[n] == at and sets[n] == set and not left[id] then
      kept = kept + 1
    end
  end
  if set == LISTED then
    local mark = kept > 0 and mark_of(places.waiting(B, kept - 1, 1)[1]) or 0
    at = string.format('%.0f', mark)
  end
  next_a, next_b = at, set and place_of(set, kept) or tostring(kept)
end
keep_groups()
return { done, #found, next_a, next_b }
