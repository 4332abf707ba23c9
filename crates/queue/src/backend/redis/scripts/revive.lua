-- A finished job is to run again; it has been taken off nothing yet.
local function revive(key, id, from, reset)
  local v = call('HMGET', key, 'priority', 'opts', 'parentKey', 'parent')
  call('ZREM', B .. from, id)
  call('HDEL', key, 'finishedOn', 'processedOn', 'failedReason', 'returnvalue', 'lk:kind')
  call('HSET', key, 'lk:at', now)
  if reset then
    call('HSET', key, 'atm', 0, 'ats', 0, 'stc', 0)
  end
  child_again(key, v[3], v[4], from)
  local priority = tonumber(v[1]) or 0
  local ok, opts = pcall(cjson.decode, v[2] or '{}')
  ready(B, id, priority, priority == 0 and ok and type(opts) == 'table' and opts.lifo == true)
  tell(B, 'waiting', 'jobId', id, 'prev', from)
end

