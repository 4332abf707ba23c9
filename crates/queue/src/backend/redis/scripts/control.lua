-- Orders to a whole queue. KEYS[3]: the names of all queues. ARGV: now, the queue's name, what, and two arguments.
local what, x, y = ARGV[3], ARGV[4], ARGV[5]
local key = B .. 'meta'

-- What BullMQ 5 has set apart comes back in front, in steps; answers how much is left.
local STEP = 5000
local function join()
  local apart, wait = B .. 'paused', B .. 'wait'
  if call('EXISTS', apart) == 0 then
    return 0
  end
  if call('EXISTS', wait) == 0 then
    call('RENAME', apart, wait)
    return 0
  end
  each('RPUSH', wait, call('LRANGE', apart, 0, STEP - 1))
  call('LTRIM', apart, STEP, -1)
  return call('LLEN', apart)
end

if what == 'pause' and not meta(B).paused and places.is_old(B) then
  return 'O'
end
call('SADD', KEYS[3], ARGV[2])
if what == 'pause' then
  if call('HSET', key, 'paused', 1) == 1 then
    call('DEL', B .. 'marker')
    tell(B, 'paused')
  end
elseif what == 'resume' then
  if join() > 0 then
    return 'M' -- it is resumed with the last step, so that the order stays
  end
  if call('HDEL', key, 'paused') == 1 then
    tell(B, 'resumed')
  end
elseif what == 'slots' then
  if x == '' then
    call('HDEL', key, 'concurrency')
  else
    call('HSET', key, 'concurrency', x)
  end
elseif what == 'rate' then
  if x == '' then
    call('HDEL', key, 'max', 'duration')
  else
    call('HSET', key, 'max', x, 'duration', y)
    -- The window that has begun is as long as the rate says now.
    local began = tonumber(call('HGET', key, 'lk:window'))
    if began and (tonumber(call('GET', B .. 'limiter')) or HELD) < HELD then
      call('PEXPIRE', B .. 'limiter', began + tonumber(y) - now - 1)
    end
  end
elseif what == 'hold' then
  places.hold(tonumber(x))
elseif what == 'clear' then
  call('DEL', B .. 'limiter')
end
metas[B] = nil
local any = call('LLEN', B .. 'wait') + call('ZCARD', B .. 'prioritized') > 0
-- A group that was limited may start what is parked; a take looks.
local parked = meta(B).groups and call('ZCOUNT', B .. 'delayed', PARKED, '+inf') > 0
if (any or parked) and not places.limiter(meta(B).max) then
  mark(B)
end
if not any and not meta(B).paused then
  places.mark_due(B)
end
keep_groups()
return 'D'
