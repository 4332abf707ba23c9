-- Where a job stands. ARGV: now, id, most ahead, most children.
local id, most = ARGV[2], tonumber(ARGV[3])
local key = B .. id
local place, score = places.where(B, id)
local ahead, behind, apart = 0, 0, call('LLEN', B .. 'paused')
-- How many stand between a list's end and the job; it is looked for from there, and found by its place from the other one.
local function before(list)
  local at = call('LPOS', B .. list, id, 'RANK', -1, 'MAXLEN', most + 1)
  return at and call('LLEN', B .. list) - 1 - at
end
if place == 'wait' then
  ahead = apart > 0 and before('paused') or apart + (before('wait') or most + 1)
elseif place == 'prioritized' and tonumber(score) >= PARKED then
  -- Those behind the same head.
  local from = score - (score - PARKED) % LINE
  ahead, behind = call('ZCOUNT', B .. 'delayed', from, '(' .. score), 1
elseif place == 'prioritized' and (tonumber(score) < HEAD or call('HEXISTS', B .. 'meta', 'lk:groups') == 0) then
  ahead = apart + call('LLEN', B .. 'wait') + call('ZRANK', B .. 'prioritized', id)
end
ahead = math.min(ahead, most + 1)

-- Of the first pending children those come first that have failed.
local pending, rows = children(B, id, 0, CUT, true)
local named = {}
for _, mark in ipairs({ 's', 'p' }) do
  for _, row in ipairs(rows) do
    if row[3] == mark and #named < tonumber(ARGV[4]) then
      named[#named + 1] = row
    end
  end
end

-- The job that runs under the deduplication id for which this one was kept.
local follows = ''
local de = not place and call('GET', O .. 'next:' .. id)
if de then
  local v = call('HMGET', B .. 'dn:' .. de, 'jid', 'lk:of')
  follows = v[1] == id and v[2] or ''
end
return { call('PTTL', key .. ':lock'), { ahead, behind }, pending, named, follows }
