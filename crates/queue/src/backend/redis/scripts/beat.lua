-- Renews locks and registers a worker.
-- KEYS[3]: the names of all queues. ARGV: now, worker id, worker as JSON, lock ms, gone ms, the queue's name, then id and token
-- of each lock.
local lost, cancel, kept = {}, {}, {}
for from = 7, #ARGV, 2 * CUT do
  local keys, to = {}, math.min(from + 2 * CUT - 1, #ARGV)
  for at = from, to, 2 do
    keys[#keys + 1] = B .. ARGV[at] .. ':lock'
  end
  local locks = call('MGET', unpack(keys))
  for n, token in ipairs(locks) do
    local id = ARGV[from + 2 * (n - 1)]
    if token == ARGV[from + 2 * (n - 1) + 1] then
      call('PEXPIRE', keys[n], ARGV[4])
      kept[#kept + 1] = id
      local canceled = call('HMGET', B .. id, 'lk:c', 'defa') -- other clients take the second away when the job has ended
      if canceled[1] and canceled[2] then
        cancel[#cancel + 1] = id
      end
    else
      lost[#lost + 1] = id
    end
  end
end
each('SREM', B .. 'stalled', kept)
local gone = call('ZRANGEBYSCORE', O .. 'seen', '-inf', now - tonumber(ARGV[5]), 'LIMIT', 0, 100)
if #gone > 0 then
  call('ZREM', O .. 'seen', unpack(gone))
  call('HDEL', O .. 'workers', unpack(gone))
end
call('SADD', KEYS[3], ARGV[6]) -- others may have filled it first
call('HSET', O .. 'workers', ARGV[2], ARGV[3])
call('ZADD', O .. 'seen', now, ARGV[2])
return { lost, cancel, call('HEXISTS', B .. 'meta', 'paused') }
