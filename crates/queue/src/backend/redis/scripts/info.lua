-- A queue at a glance. ARGV: now, gone ms.
local m = call('HMGET', B .. 'meta', 'paused', 'concurrency', 'max', 'duration', 'lk:window', 'lk:groups')
local behind = call('ZCOUNT', B .. 'delayed', PARKED, '+inf')
local counts = { call('LLEN', B .. 'wait') + call('LLEN', B .. 'paused'), call('ZCARD', B .. 'prioritized') + behind,
  call('ZCARD', B .. 'delayed') - behind, call('LLEN', B .. 'active'), call('ZCARD', B .. 'waiting-children'),
  call('ZCARD', B .. 'completed'), call('ZCARD', B .. 'failed') }
-- The next to run; among heads of one time the group's number decides.
local function first_ready()
  local top = call('ZRANGE', B .. 'prioritized', 0, 0, 'WITHSCORES')
  local head = top[2] and tonumber(top[2]) >= HEAD and some_of(HEADS, nil, 0, 1)[1] or ''
  return places.waiting(B, 0, 1)[1] or (head ~= '' and head) or top[1]
    or call('ZRANGEBYSCORE', B .. 'delayed', PARKED, '+inf', 'LIMIT', 0, 1)[1]
end
local first = first_ready()
local oldest = ''
if first then
  local v = call('HMGET', B .. first, 'lk:at', 'timestamp')
  oldest = v[1] or v[2] or ''
end
local workers = {}
local seen = call('ZRANGEBYSCORE', O .. 'seen', '(' .. string.format('%.0f', now - tonumber(ARGV[2])), '+inf', 'LIMIT', 0, 1000)
if #seen > 0 then
  workers = call('HMGET', O .. 'workers', unpack(seen))
end
local newest = call('XREVRANGE', B .. 'events', '+', '-', 'COUNT', 1)[1]
return { counts, m[1] and 1 or 0, m[2] or '', m[3] or '', m[4] or '', call('GET', B .. 'limiter') or '',
  call('PTTL', B .. 'limiter'), m[5] or '', oldest, workers, newest and newest[1] or '0-0',
  call('ZCARD', O .. 'names'), m[6] or '' }
