-- Parents and children. What a parent knows of its children lies in BullMQ's four keys beside its hash. In what order they
-- were added lies in a record of ours, which is void unless the parent's hash has the field "lk:f": the last number given.

kin[#kin + 1] = function()
  local PREFIX = B:match('^(.*):[^:]*:$')

  -- The base and the id in the full key of a job; ids of our own prefix may have colons.
  function kin.split(key)
    if key:sub(1, #PREFIX + 1) == PREFIX .. ':' then
      local queue, id = key:match('^([^:]*:)(.*)$', #PREFIX + 2)
      if queue then
        return PREFIX .. ':' .. queue, id
      end
    end
    return key:match('^(.*:)([^:]*)$')
  end

  -- The record of a family: child -> number * 8 + policy; and child -> reason, of those that failed their parent.
  function kin.kids_of(b, id)
    local own = places.own_of(b)
    return own .. 'kids:' .. id, own .. 'why:' .. id
  end

  -- Removes the record of a family.
  function kin.disband(b, id)
    call('UNLINK', kin.kids_of(b, id))
    call('SREM', places.own_of(b) .. 'families', id)
  end

  -- The base and the id of a parent, by the two fields of its child; nil without one.
  function kin.parent_of(key, json)
    if not key then
      return nil
    end
    if json then
      local ok, parent = pcall(cjson.decode, json)
      if ok and type(parent) == 'table' and type(parent.queueKey) == 'string' and parent.id then
        return parent.queueKey .. ':', tostring(parent.id), parent
      end
    end
    local b, id = kin.split(key)
    return b, id, {}
  end

  -- Whether the parent that a job names is its own: it has the family that the job was added to, or knows it. Another job may
  -- have that one's id.
  function kin.belongs(child, key, mark)
    local v = call('HMGET', key, 'lk:family', 'timestamp')
    return (mark and mark == v[1]) or (v[2] ~= false
      and (call('SISMEMBER', key .. ':dependencies', child) == 1 or call('HEXISTS', key .. ':processed', child) == 1
        or call('HEXISTS', key .. ':failed', child) == 1 or call('ZSCORE', key .. ':unsuccessful', child) ~= false))
  end

  -- Whether a job's parent is there.
  function kin.has_parent(id)
    local v = call('HMGET', B .. id, 'parentKey', 'lk:in')
    return v[1] and kin.belongs(B .. id, v[1], v[2]) and 1 or 0
  end

  -- A parent that waits no longer: it is in front of its class, or delayed when it has a delay that it has not spent.
  local function release(b, id, from, delays)
    local v = call('HMGET', b .. id, 'priority', 'delay', 'ats')
    local wait = delays and (tonumber(v[3]) or 0) == 0 and tonumber(v[2]) or 0
    call('HSET', b .. id, 'lk:at', now)
    if wait > 0 then
      places.delay(b, id, now + wait)
      tell(b, 'delayed', 'jobId', id, 'delay', now + wait)
      places.mark_due(b)
    else
      call('HSET', b .. id, 'delay', 0)
      places.ready(b, id, tonumber(v[1]) or 0, true)
      mark(b)
      tell(b, 'waiting', 'jobId', id, 'prev', from)
    end
  end

  -- A parent goes on if it waits.
  local function go_on(b, id)
    if call('EXISTS', b .. id) == 1 and call('ZREM', b .. 'waiting-children', id) == 1 then
      release(b, id, 'waiting-children', true)
    end
  end

  -- A parent may have no pending child left.
  local function release_if_done(b, id)
    if call('SCARD', b .. id .. ':dependencies') == 0 then
      go_on(b, id)
    end
  end

  -- A parent fails wherever it is, unless it has ended.
  local function fail(b, id, child)
    local key = b .. id
    if call('EXISTS', key) == 0 or call('HEXISTS', key, 'finishedOn') == 1 then
      return
    end
    if call('HGET', key, 'defa') ~= STALLED then
      call('HSET', key, 'defa', 'child ' .. child .. ' failed')
    end
    for _, place in ipairs({ 'waiting-children', 'delayed' }) do
      local score = call('ZSCORE', b .. place, id)
      if score and tonumber(score) < PARKED then
        call('ZREM', b .. place, id)
        release(b, id, place, false)
        return
      end
    end
  end

  -- Nothing of a child stays with its parent.
  local function unknown(b, id, child)
    call('ZREM', (kin.kids_of(b, id)), child)
  end

  function kin.child_completed(child, key, json, value)
    local b, id = kin.parent_of(key, json)
    if b and call('SREM', key .. ':dependencies', child) == 1 then
      call('HSET', key .. ':processed', child, value)
      release_if_done(b, id)
    end
  end

  -- A child has failed for good: what its parent was told to do then.
  function kin.child_failed(child, key, json, reason)
    local b, id, told = kin.parent_of(key, json)
    local fails, goes_on, ignored = told and told.fpof == true, told and told.cpof == true, told and told.idof == true
    if not b or not (fails or goes_on or ignored or told.rdof == true)
      or call('SREM', key .. ':dependencies', child) == 0 then
      return
    end
    if fails then
      local _, why = kin.kids_of(b, id)
      call('ZADD', key .. ':unsuccessful', now, child)
      if call('HEXISTS', key, 'lk:f') == 1 then
        call('HSET', why, child, reason)
      end
      fail(b, id, child)
    elseif goes_on then
      call('HSET', key .. ':failed', child, reason)
      go_on(b, id)
    else
      if ignored then
        call('HSET', key .. ':failed', child, reason)
      else
        unknown(b, id, child)
      end
      release_if_done(b, id)
    end
  end

  -- A child is gone: its parent does not wait for it.
  function kin.child_gone(child, key, json)
    local b, id = kin.parent_of(key, json)
    if b and call('SREM', key .. ':dependencies', child) == 1 then
      unknown(b, id, child)
      release_if_done(b, id)
    end
  end

  -- A finished child is to run again: its parent may wait for it again.
  function kin.child_again(child, key, json, from)
    if not key or call('EXISTS', key) == 0 then
      return
    end
    local undone
    if from == 'failed' then
      undone = call('ZREM', key .. ':unsuccessful', child) == 1 or call('HDEL', key .. ':failed', child) == 1
      local b, id = kin.parent_of(key, json)
      local _, why = kin.kids_of(b, id)
      call('HDEL', why, child)
    else
      undone = call('HDEL', key .. ':processed', child) == 1
    end
    if undone then
      call('SADD', key .. ':dependencies', child)
    end
  end
end
