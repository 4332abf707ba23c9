-- One page of the jobs in a place, next to run first, finished ones newest first. ARGV: now, place, cursor a, cursor b, most.
local place, a, b, most = ARGV[2], ARGV[3], tonumber(ARGV[4]) or 0, tonumber(ARGV[5])
local ids, scores = {}, {}
local function mark_of(id)
  return tonumber(redis.sha1hex(id):sub(1, 12), 16)
end

-- Where a list goes on: behind the job that the page before ended with, wherever that has moved to meanwhile.
local AROUND = 1000
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
local function behind()
  if a == '' then
    return 0
  end
  local first = math.max(b - AROUND, 0)
  for n, id in ipairs(page_of(first, b + AROUND - first)) do
    if mark_of(id) == tonumber(a) then
      return first + n
    end
  end
  return first
end

if place == 'wait' or place == 'active' then
  b = behind()
  ids = page_of(b, most)
elseif place == 'prioritized' then
  local from, to = tonumber(a), has_groups() and BEHIND or WITH_PRIORITY
  for which = from and set_of(from) or WITH_PRIORITY, to do
    local more, ats = some_of(which, from, b, most - #ids)
    for n, id in ipairs(more) do
      ids[#ids + 1] = id
      scores[#ids] = ats[n]
    end
    if #ids == most then
      break
    end
    from, b = nil, 0
  end
  b = tonumber(ARGV[4]) or 0
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
  if scores[1] then
    local same = 0
    for n = #ids, 1, -1 do
      if scores[n] ~= scores[#ids] then
        break
      end
      same = same + 1
    end
    if same == #ids and a ~= '' and tonumber(a) == tonumber(scores[#ids]) then
      same = same + b
    end
    next_a, next_b = scores[#ids], tostring(same)
  else
    next_a, next_b = string.format('%.0f', mark_of(ids[#ids])), tostring(b + most)
  end
end
return { found, next_a, next_b }
