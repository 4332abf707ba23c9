-- What few calls need: where jobs stand and go, limits, options, removal.
places[#places + 1] = function()
  local CLASS = 4294967296 -- between the scores of two priorities
  local LAST = 4194303 -- the last priority before the heads; another client may give any

  -- What our own keys of a queue begin with, by its base.
  function places.own_of(b)
    if b == B then
      return O
    end
    local prefix, queue = b:match('^(.*):([^:]*):$')
    return (prefix or '') .. '::lk:' .. (queue or b) .. ':'
  end

  -- Sets a key for a time. The server keeps it through the millisecond in which its time is over; here it is over then.
  function places.expiring(key, value, time)
    call('SET', key, value, 'PX', math.max(time - 1, 1))
  end

  -- A job's options; what cannot be read says nothing.
  function places.options(json)
    local ok, opts = pcall(cjson.decode, json or '{}')
    return ok and type(opts) == 'table' and opts or {}
  end

  -- Whether no more jobs may be active.
  function places.full(b)
    local slots = meta(b).slots
    return slots ~= nil and call('LLEN', b .. 'active') >= slots
  end

  -- Whether the version that the queue's clients have written last is of BullMQ 5.
  function places.is_old(b)
    local version = call('HGET', b .. 'meta', 'version')
    return version ~= false and version:find('^bullmq:[0-5]%.') ~= nil
  end

  -- The list that new jobs wait in. BullMQ 5 sets the jobs of a paused queue apart, and its resume puts that list in the place
  -- of "wait", whatever stands there.
  function places.list_of(b)
    local apart = meta(b).paused
      and (call('EXISTS', b .. 'paused') == 1 or (call('EXISTS', b .. 'wait') == 0 and places.is_old(b)))
    return b .. (apart and 'paused' or 'wait')
  end

  -- Says when the next delayed job is due.
  function places.mark_due(b)
    local first = call('ZRANGE', b .. 'delayed', 0, 0, 'WITHSCORES')
    if first[2] and tonumber(first[2]) < PARKED then
      call('ZADD', b .. 'marker', tonumber(first[2]) / 4096, '1')
    end
  end

  -- Puts a job among the delayed ones.
  function places.delay(b, id, due)
    local low = due * 4096
    local top = call('ZREVRANGEBYSCORE', b .. 'delayed', low + 4095, low, 'WITHSCORES', 'LIMIT', 0, 1)
    local score = top[2] and math.min(tonumber(top[2]) + 1, low + 4095) or low
    call('ZADD', b .. 'delayed', score, id)
  end

  -- Jobs that wait without a priority, next to run first: those that BullMQ 5 has set apart, then the others.
  function places.waiting(b, skip, most)
    local apart, ids = call('LLEN', b .. 'paused'), {}
    for _, part in ipairs({ { 'paused', skip }, { 'wait', math.max(skip - apart, 0) } }) do
      local list, from, count = part[1], part[2], most - #ids
      local page = count > 0 and call('LRANGE', b .. list, -(from + count), -(from + 1)) or {}
      for n = #page, 1, -1 do
        ids[#ids + 1] = page[n]
      end
    end
    return ids
  end

  -- Takes a job that waits without a priority off its list; answers whether it stood there.
  function places.unlist(b, id)
    local found = call('LREM', b .. 'wait', -1, id)
    return found > 0 and found or call('LREM', b .. 'paused', -1, id)
  end

  -- Puts a job among the ready ones: behind its class or its group, or in front of it. One whose group is not known, the next
  -- take puts into it.
  function places.ready(b, id, priority, front)
    if priority == GROUPED and groups.enter(b, id, front) then
      return
    end
    if priority ~= 0 then
      local score = math.min(LAST, priority) * CLASS
      if front then
        local first = call('ZRANGEBYSCORE', b .. 'prioritized', score - CLASS / 2, score, 'WITHSCORES', 'LIMIT', 0, 1)
        score = first[2] and tonumber(first[2]) - 1 or score
      else
        score = score + call('INCR', b .. 'pc') % CLASS
      end
      call('ZADD', b .. 'prioritized', score, id)
    else
      call(front and 'RPUSH' or 'LPUSH', places.list_of(b), id)
    end
  end

  -- Whether a job goes to the front of the line in which it stands by its own wish.
  function places.goes_first(priority, json)
    return (priority == 0 or priority == GROUPED) and places.options(json).lifo == true
  end

  -- A job whose time has come, or has been brought forward, is ready; it has been taken off the delayed ones.
  function places.promote(b, id)
    local priority = call('HGET', b .. id, 'priority')
    places.ready(b, id, tonumber(priority) or 0, false)
    tell(b, 'waiting', 'jobId', id, 'prev', 'delayed')
    if priority or call('EXISTS', b .. id) == 1 then
      call('HSET', b .. id, 'delay', 0, 'lk:at', now)
    end
  end

  -- Goes through the active jobs with the token of each one's lock, the oldest first: it stands last. Of very many it goes
  -- through the newest.
  function places.each_active(visit)
    local active = call('LRANGE', B .. 'active', 0, 4999)
    for to = #active, 1, -CUT do
      local from, keys = math.max(1, to - CUT + 1), {}
      for n = from, to do
        keys[#keys + 1] = B .. active[n] .. ':lock'
      end
      local locks = call('MGET', unpack(keys))
      for n = to, from, -1 do
        visit(active[n], locks[n - from + 1])
      end
    end
  end

  -- Where a job is, and its score there; what is in no ordered set and not active waits. No list is walked but the active ones.
  -- A job behind the head of its group is a prioritized one.
  local ORDERED = { 'completed', 'failed', 'delayed', 'prioritized', 'waiting-children' }
  function places.where(b, id)
    for _, name in ipairs(ORDERED) do
      local score = call('ZSCORE', b .. name, id)
      if score then
        return tonumber(score) >= PARKED and 'prioritized' or name, score
      end
    end
    if call('LPOS', b .. 'active', id, 'RANK', -1) then
      return 'active'
    end
    return call('EXISTS', b .. id) == 1 and 'wait' or nil
  end

  -- A new job's record, with more fields if there are any.
  function places.store(b, id, name, data, opts, priority, wait, more)
    local key = b .. id
    if more then
      call('HSET', key, 'name', name, 'data', data, 'opts', opts, 'timestamp', stamp, 'delay', wait, 'priority', priority,
        unpack(more))
    else
      call('HSET', key, 'name', name, 'data', data, 'opts', opts, 'timestamp', stamp, 'delay', wait, 'priority', priority)
    end
    tell(b, 'added', 'jobId', id, 'name', name)
  end

  -- A new job gets its place.
  function places.enqueue(b, id, priority, wait, front)
    if wait > 0 then
      places.delay(b, id, now + wait)
      tell(b, 'delayed', 'jobId', id, 'delay', now + wait)
      places.mark_due(b)
    else
      places.ready(b, id, priority, front and (priority == 0 or priority == GROUPED))
      tell(b, 'waiting', 'jobId', id)
      mark(b)
    end
  end

  -- The hold or the full window of a limiter: when it ends, or nil; and how much of it is used.
  function places.limiter(max, known)
    local used = known or tonumber(call('GET', B .. 'limiter')) or 0
    if used == 0 or not (used >= HELD or (max and used >= max)) then
      return nil, used
    end
    local left = call('PTTL', B .. 'limiter')
    if left >= 0 then
      return now + left + 1, used
    end
    return nil, 0
  end

  -- Holds everything back until then, or longer if that is said already.
  function places.hold(until_then)
    if until_then > now and (places.limiter() or 0) < until_then then
      places.expiring(B .. 'limiter', HELD, until_then - now)
    end
  end

  -- Removes what is stored of jobs that stand in no list any more.
  function places.forget(b, ids, by_hand)
    local keys = {}
    gather(b, ids, by_hand, keys)
    delete(keys)
  end

  -- Does something beside the job itself. What is stored there in another shape than it is to be keeps no job from its end.
  function places.beside(f, ...)
    local ok, why = pcall(f, ...)
    if not ok and not (type(why) == 'table' and why.err or tostring(why)):find('WRONGTYPE', 1, true) then
      error(why)
    end
  end

  -- Whether a job that has been taken so often is handed out as expired, which is no start.
  function places.expired(id, opts, starts)
    local before, slot = tonumber(places.options(opts).startBefore), tonumber(id:match('^repeat:.*:(%d+)$'))
    return before ~= nil and before < now and starts == '1' and not (slot and before < slot)
  end
end
