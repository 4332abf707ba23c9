-- One page of the jobs in a place, next to run first, finished ones newest first. ARGV: now, place, cursor a, cursor b, most.
local place, a, b, most = ARGV[2], ARGV[3], tonumber(ARGV[4]) or 0, tonumber(ARGV[5])
local ids, scores, sets = {}, {}, {}

local function page_of(skip, count)
  if place == 'wait' then
    return places.waiting(B, skip, count)
  end
  local page, ids = count > 0 and call('LRANGE', B .. place, -(skip + count), -(skip + 1)) or {}, {}
  for n = #page, 1, -1 do
    ids[#ids + 1] = page[n]
  end
  return ids
end

if place == 'wait' or place == 'active' then
  b = a == '' and 0 or behind(page_of, tonumber(a), b, AROUND) or math.max(b - AROUND, 0)
  ids = page_of(b, most)
elseif place == 'prioritized' then
  local from, which, skip = tonumber(a), WITH_PRIORITY, 0
  if from then
    which, skip = placed(b)
  end
  for set = which, has_groups() and BEHIND or WITH_PRIORITY do
    local more, ats = some_of(set, from, skip, most - #ids)
    for n, id in ipairs(more) do
      ids[#ids + 1] = id
      scores[#ids], sets[#ids] = ats[n], set
    end
    if #ids == most then
      break
    end
    from, skip = nil, 0
  end
else
  local page
  if place == 'completed' or place == 'failed' then
    page = call('ZREVRANGEBYSCORE', B .. place, a == '' and '+inf' or a, '-inf', 'WITHSCORES', 'LIMIT', b, most)
  else
    local last = place == 'delayed' and '(' .. string.format('%.17g', PARKED) or '+inf'
    page = call('ZRANGEBYSCORE', B .. place, a == '' and '-inf' or a, last, 'WITHSCORES', 'LIMIT', b, most)
  end
  for n = 1, #page, 2 do
    ids[#ids + 1] = page[n]
    scores[#ids] = page[n + 1]
  end
end
local found = {}
for n, id in ipairs(ids) do
  local h = call('HGETALL', B .. id)
  if #h > 0 then
    found[#found + 1] = { id, place, scores[n] or '', h, kin.has_parent(id) }
  end
end
local next_a, next_b = '', ''
if #ids == most and most > 0 then
  local score, set = scores[most], sets[most]
  if score then
    local same = 0
    for n = most, 1, -1 do
      if scores[n] ~= score or sets[n] ~= set then
        break
      end
      same = same + 1
    end
    local which, skip = nil, b
    if set then
      which, skip = placed(b)
    end
    if same == most and a ~= '' and tonumber(a) == tonumber(score) and which == set then
      same = same + skip
    end
    next_a, next_b = score, set and place_of(set, same) or tostring(same)
  else
    next_a, next_b = string.format('%.0f', mark_of(ids[most])), tostring(b + most)
  end
end
return { found, next_a, next_b }
