-- Puts jobs without a lock back. ARGV: now, most, stalls allowed.
local most, allowed = tonumber(ARGV[2]), tonumber(ARGV[3])
local active = call('LRANGE', B .. 'active', -5000, -1)
local expired = {}
-- The oldest stands last.
for to = #active, 1, -CUT do
  local from, keys = math.max(1, to - CUT + 1), {}
  for n = from, to do
    keys[#keys + 1] = B .. active[n] .. ':lock'
  end
  local locks = call('MGET', unpack(keys))
  for n = to, from, -1 do
    if not locks[n - from + 1] and #expired < most then
      expired[#expired + 1] = active[n]
    end
  end
end
for n = #expired, 1, -1 do
  local id = expired[n]
  local key = B .. id
  call('LREM', B .. 'active', -1, id)
  if call('EXISTS', key) == 1 then
    local stalls = call('HINCRBY', key, 'stc', 1)
    if stalls > allowed then
      call('HSET', key, 'defa', 'job stalled more than allowable limit')
    end
    local priority = tonumber(call('HGET', key, 'priority')) or 0
    call('HSET', key, 'lk:at', now)
    ready(B, id, priority, true)
    tell(B, 'waiting', 'jobId', id, 'prev', 'active')
    tell(B, 'stalled', 'jobId', id)
  end
end
if #expired > 0 then
  each('SREM', B .. 'stalled', expired)
  mark(B)
end
trim()
return expired
