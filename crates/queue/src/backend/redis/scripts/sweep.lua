-- One step of an operation over many jobs.
-- ARGV: now, what, from place, last score, cursor a, cursor b, most, dry, name, kind, text, since ms ('' each when not asked).
local what, place, last, most, dry = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[7]), ARGV[8] == '1'
local a, b = tonumber(ARGV[5]), tonumber(ARGV[6])
local found, scores = {}, {}
local listed = 0 -- how many of them stand in a list
local GONE = '\0' -- no id

-- Ready jobs stand in a list from its end on, and behind it in a set.
local skip = a == 0 and b or 0
if place == 'wait' and a <= 0 then
  local ids = call('LRANGE', B .. 'wait', -(skip + most), -(skip + 1))
  for n = #ids, 1, -1 do
    found[#found + 1] = ids[n]
  end
  listed = #found
end
local set = place == 'wait' and 'prioritized' or place
if #found < most then
  local from, passed = '-inf', 0
  if a > 0 then
    from, passed = a, b
  end
  local more = call('ZRANGEBYSCORE', B .. set, from, last, 'WITHSCORES', 'LIMIT', passed, most - #found)
  for i = 1, #more, 2 do
    found[#found + 1] = more[i]
    scores[#found] = tonumber(more[i + 1])
  end
end

local FIELD = { 'name', 'lk:kind', 'failedReason', 'lk:at', 'timestamp', 'finishedOn' }
local function chosen(id)
  if ARGV[9] == '' and ARGV[10] == '' and ARGV[11] == '' and ARGV[12] == '' then
    return call('EXISTS', B .. id) == 1
  end
  local h = call('HMGET', B .. id, unpack(FIELD))
  local dead = place == 'failed'
  local since = tonumber((dead or place == 'completed') and h[6] or h[4] or h[5]) or 0
  return h[1] and (ARGV[9] == '' or h[1] == ARGV[9])
    and (ARGV[10] == '' or (dead and h[3] and (h[2] or 'error') == ARGV[10]))
    and (ARGV[11] == '' or (dead and h[3] and h[3]:find(ARGV[11], 1, true)))
    and (ARGV[12] == '' or since >= tonumber(ARGV[12]))
end

local done, gone_listed, gone_set = {}, {}, {}
for n, id in ipairs(found) do
  if chosen(id) then
    done[#done + 1] = id
    if not dry then
      if n <= listed then
        gone_listed[#gone_listed + 1] = -(skip + n)
      else
        gone_set[#gone_set + 1] = id
      end
    end
  end
end

if not dry and #done > 0 then
  if what == 'retry' then
    for _, id in ipairs(done) do
      revive(B .. id, id, 'failed', false)
    end
    mark(B)
  elseif what == 'promote' then
    each('ZREM', B .. 'delayed', gone_set)
    for _, id in ipairs(done) do
      promote(B, id)
    end
    mark(B)
  else
    each('ZREM', B .. set, gone_set)
    if #gone_listed > 0 then
      -- Marked where they stand, they leave the list in one walk over what the sweep has passed.
      for _, index in ipairs(gone_listed) do
        call('LSET', B .. 'wait', index, GONE)
      end
      call('LREM', B .. 'wait', -#gone_listed, GONE)
    end
    forget(B, done, true)
  end
end
if not dry and what == 'clean' then
  tell(B, 'cleaned', 'count', #done)
end

-- What stays before the next step: the scanned ones that are still there, with the score of the last one.
local next_a, next_b = '', ''
if #found == most and most > 0 then
  local left = {}
  for _, id in ipairs(done) do
    if not dry then
      left[id] = true
    end
  end
  if #found == listed then
    local kept = 0
    for n = 1, listed do
      kept = kept + (left[found[n]] and 0 or 1)
    end
    next_a, next_b = '0', tostring((a == 0 and b or 0) + kept)
  else
    local score = scores[#found]
    local kept = a == score and b or 0
    for n = listed + 1, #found do
      if scores[n] == score and not left[found[n]] then
        kept = kept + 1
      end
    end
    next_a, next_b = string.format('%.0f', score), tostring(kept)
  end
end
trim()
return { done, #found, next_a, next_b }
