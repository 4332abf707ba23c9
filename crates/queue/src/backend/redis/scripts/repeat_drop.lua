-- Removes a scheduler, its ticks and its delayed job. ARGV: now, the scheduler.
local sid = ARGV[2]
local record = B .. 'repeat:' .. sid
local _, score, _, _, starts, place = unpack(stand(sid, true))
local own = call('HMGET', record, 'ic', 'lk:rest')
if score == '' and not own[1] then
  return 'M'
end
if place == 'delayed' and tonumber(starts) == 0 and own[2] ~= score then
  withdraw('repeat:' .. sid .. ':' .. score)
end
call('ZREM', B .. 'repeat', sid)
call('DEL', record, O .. 'ticks:' .. sid)
keep_groups()
return 'D'
