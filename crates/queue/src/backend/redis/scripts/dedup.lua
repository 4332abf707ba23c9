-- Deduplication ids: of jobs that come, and of owners that go.
dedup[#dedup + 1] = function()
  local DAY = 86400000 -- for as long it is known for what a job that is to be added later waits

  local function own(key, id, time)
    if time then
      places.expiring(key, id, time)
    else
      call('SET', key, id)
    end
  end

  -- Claims its deduplication id for a new job, whose arguments begin at a place; answers the owner when the job is not to be
  -- added, and whether that one is delayed anew.
  function dedup.claim(at, id, wait)
    local de, flags = ARGV[at + 7], ARGV[at + 9]
    local key, last = B .. 'de:' .. de, B .. 'dn:' .. de
    local has = function(flag) return flags:find(flag, 1, true) ~= nil end
    local ttl = tonumber(ARGV[at + 8])
    local fresh = not has('k') and ttl or nil
    local owner = call('GET', key)
    if not owner then
      own(key, id, fresh)
      return nil
    end
    local place = call('HGET', B .. owner, 'deid') == de and places.where(B, owner) or nil
    local says = function(stays, lost)
      tell(B, 'deduplicated', 'jobId', stays, 'deduplicationId', de, 'deduplicatedJobId', lost)
    end
    if place == 'delayed' and has('r') then
      call('ZREM', B .. 'delayed', owner)
      places.forget(B, { owner }, false)
      call('DEL', last)
      tell(B, 'removed', 'jobId', owner, 'prev', 'delayed')
      says(id, owner)
      if ttl and not has('e') and not has('k') then
        call('SET', key, id, 'KEEPTTL')
      else
        own(key, id, fresh)
      end
      return nil
    end
    if not place and call('PTTL', key) == -1 then
      call('DEL', last)
      own(key, id, fresh)
      return nil
    end
    if place == 'active' and has('k') then
      call('DEL', last)
      call('HSET', last, 'name', ARGV[at + 1], 'data', ARGV[at + 2], 'opts', ARGV[at + 3], 'jid', id, 'lk:of', owner)
      places.expiring(O .. 'next:' .. id, de, DAY)
      call('PERSIST', key)
      says(owner, id)
      return owner
    end
    if has('r') then
      return owner
    end
    says(owner, id)
    if ttl and has('e') then
      own(key, owner, fresh)
    end
    if has('s') and place == 'delayed' then
      call('HSET', B .. owner, 'delay', wait)
      places.delay(B, owner, now + wait)
      tell(B, 'delayed', 'jobId', owner, 'delay', now + wait)
      return owner, true
    end
    return owner
  end

  -- A job has ended for good: it gives its deduplication id up unless that is owned for longer, and what waited for its end
  -- is added.
  function dedup.ended(b, id, de)
    local key = b .. 'de:' .. de
    local left = call('PTTL', key)
    if left == 0 or (left == -1 and call('GET', key) == id) then
      call('DEL', key)
    end
    local last = b .. 'dn:' .. de
    local v = call('HMGET', last, 'name', 'data', 'opts', 'jid', 'pk', 'pd', 'pdk', 'rjk', 'lk:of')
    if not v[1] or (v[9] and v[9] ~= id) then
      return
    end
    call('DEL', last)
    local count = call('INCR', b .. 'id')
    local new = v[4] or tostring(count)
    if call('EXISTS', b .. new) == 1 then
      tell(b, 'duplicated', 'jobId', new)
      return
    end
    local opts = places.options(v[3])
    local dedup = type(opts.de) == 'table' and opts.de or {}
    if call('EXISTS', key) == 0 then
      local time = tonumber(dedup.ttl) or 0
      if time > 0 and dedup.keepLastIfActive ~= true then
        places.expiring(key, new, time)
      else
        call('SET', key, new)
      end
    end
    local wait, priority = tonumber(opts.delay) or 0, tonumber(opts.priority) or 0
    local of = priority == GROUPED and type(opts.gr) == 'string' and opts.gr or nil
    local more = { 'deid', de }
    for name, value in pairs({ parentKey = v[5], parent = v[6], rjk = v[8], ['lk:g'] = of }) do
      if value then
        more[#more + 1], more[#more + 2] = name, value
      end
    end
    places.store(b, new, v[1], v[2], v[3], priority, wait, more)
    places.enqueue(b, new, priority, wait, opts.lifo == true)
    if v[7] then
      call('SADD', v[7], b .. new)
    end
  end

  -- A job is removed: its deduplication id is free, and nothing runs after it.
  function dedup.removed(b, id, de)
    local key = b .. 'de:' .. de
    if call('GET', key) == id then
      call('DEL', key, b .. 'dn:' .. de)
    end
  end
end
