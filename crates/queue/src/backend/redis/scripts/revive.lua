-- A finished job is to run again; it has been taken off nothing yet.
local function revive(key, id, from, reset)
  local v = call('HMGET', key, 'priority', 'opts', 'parentKey', 'parent')
  call('ZREM', B .. from, id)
  call('HDEL', key, 'finishedOn', 'processedOn', 'failedReason', 'returnvalue', 'lk:kind', 'defa', 'lk:c')
  call('HSET', key, 'lk:at', now)
  if reset then
    call('HDEL', key, 'atm', 'ats', 'stc')
  end
  kin.child_again(key, v[3], v[4], from)
  local priority = tonumber(v[1]) or 0
  places.ready(B, id, priority, places.goes_first(priority, v[2]))
  tell(B, 'waiting', 'jobId', id, 'prev', from)
end

