-- Where a job stands. ARGV: now, id, most ahead.
local id, most = ARGV[2], tonumber(ARGV[3])
local key = B .. id
local place = where(B, id)
local ahead, follows = 0, ''
if place == 'wait' then
  ahead = call('LPOS', B .. 'wait', id, 'RANK', -1, 'MAXLEN', most + 1) or most + 1
  if ahead > most then
    ahead = most + 1
  end
elseif place == 'prioritized' then
  ahead = math.min(call('LLEN', B .. 'wait') + call('ZRANK', B .. 'prioritized', id), most + 1)
end
return { call('PTTL', key .. ':lock'), ahead, call('SCARD', key .. ':dependencies') }
