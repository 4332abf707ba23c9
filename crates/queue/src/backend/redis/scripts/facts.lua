-- Where a job stands. ARGV: now, id, most ahead, most children.
local id, most = ARGV[2], tonumber(ARGV[3])
local key = B .. id
local place = where(B, id)
local ahead = 0
if place == 'wait' then
  -- Looked for from the end on, and told from the beginning.
  local at = call('LPOS', B .. 'wait', id, 'RANK', -1, 'MAXLEN', most + 1)
  ahead = at and call('LLEN', B .. 'wait') - 1 - at or most + 1
elseif place == 'prioritized' then
  ahead = math.min(call('LLEN', B .. 'wait') + call('ZRANK', B .. 'prioritized', id), most + 1)
end

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
return { call('PTTL', key .. ':lock'), ahead, pending, named, follows }
