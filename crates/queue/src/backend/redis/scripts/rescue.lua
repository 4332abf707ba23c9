-- Puts jobs without a lock back. ARGV: now, most, stalls allowed.
local most, allowed = tonumber(ARGV[2]), tonumber(ARGV[3])
local expired = {}
places.each_active(function(id, lock)
  if not lock and #expired < most then
    expired[#expired + 1] = id
  end
end)
-- From the last to the first, which comes to stand in front.
for n = #expired, 1, -1 do
  local id = expired[n]
  local key = B .. id
  call('LREM', B .. 'active', -1, id)
  if call('EXISTS', key) == 1 then
    local stalls = call('HINCRBY', key, 'stc', 1)
    if stalls > allowed then
      call('HSET', key, 'defa', STALLED)
    end
    local priority = tonumber(call('HGET', key, 'priority')) or 0
    call('HSET', key, 'lk:at', now)
    places.ready(B, id, priority, true)
    tell(B, 'waiting', 'jobId', id, 'prev', 'active')
    tell(B, 'stalled', 'jobId', id)
  end
end
if #expired > 0 then
  each('SREM', B .. 'stalled', expired)
  mark(B)
end
if meta(B).groups then
  local lane = groups.lane(B)
  groups.mend(lane)
  if #lane.changed > 0 then
    mark(B)
  end
end
keep_groups()
return expired
