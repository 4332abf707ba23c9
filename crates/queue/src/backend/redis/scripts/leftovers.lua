-- What BullMQ 5 has left in a queue. ARGV: now, how many schedulers are looked at.
local repeatables = {}
for _, sid in ipairs(call('ZRANGE', B .. 'repeat', 0, tonumber(ARGV[2]) - 1)) do
  local record = B .. 'repeat:' .. sid
  if call('EXISTS', record) == 1 and call('HEXISTS', record, 'ic') == 0 then
    repeatables[#repeatables + 1] = sid
  end
end
return { call('HGET', B .. 'meta', 'version') or '', call('LLEN', B .. 'paused'), repeatables }
