-- Adds jobs. KEYS[3]: the names of all queues.
-- ARGV: now, jobs, the queue's name, then for each job:
-- id, name, data, opts, delay, priority, lifo, deduplication id, its time, its flags, group.
local jobs, JOB = tonumber(ARGV[2]), 11
local DAY = 86400000 -- for as long it is known for what a job that is to be added later waits
local answers, listed = {}, {}
local any_ready, any_due = false, false

local function own(key, id, time)
  if time then
    expiring(key, id, time)
  else
    call('SET', key, id)
  end
end

-- Claims its deduplication id for a new job; answers the owner when the job is not to be added.
local function claim(at, id, wait)
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
  local place = call('HGET', B .. owner, 'deid') == de and where(B, owner) or nil
  local says = function(stays, lost)
    tell(B, 'deduplicated', 'jobId', stays, 'deduplicationId', de, 'deduplicatedJobId', lost)
  end
  if place == 'delayed' and has('r') then
    call('ZREM', B .. 'delayed', owner)
    forget(B, { owner }, false)
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
    expiring(O .. 'next:' .. id, de, DAY)
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
    delay(B, owner, now + wait)
    tell(B, 'delayed', 'jobId', owner, 'delay', now + wait)
    any_due = true
  end
  return owner
end

local last = call('INCRBY', B .. 'id', jobs)
if last == jobs then
  call('SADD', KEYS[3], ARGV[3])
end
for i = 0, jobs - 1 do
  local at = 4 + JOB * i
  local id, own_id = ARGV[at], true
  if id == '' then
    id, own_id = string.format('%.0f', last - jobs + 1 + i), false
  end
  if own_id and call('EXISTS', B .. id) == 1 then
    tell(B, 'duplicated', 'jobId', id)
    answers[i + 1] = 'E' .. id
  else
    local wait, priority, de = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), ARGV[at + 7]
    local owner = de ~= '' and claim(at, id, wait) or nil
    if owner then
      answers[i + 1] = 'D' .. owner
    else
      local of, more = ARGV[at + 10], de ~= '' and { 'deid', de } or nil
      if of ~= '' then
        more = { 'lk:g', of, unpack(more or {}) }
      end
      store(B, id, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], priority, wait, more)
      if wait > 0 then
        delay(B, id, now + wait)
        tell(B, 'delayed', 'jobId', id, 'delay', now + wait)
        any_due = true
      else
        local first = ARGV[at + 6] == '1'
        if of ~= '' then
          if not groups.add(B, id, of, first) then
            ready(B, id, priority, false)
          end
        elseif priority > 0 or first then
          ready(B, id, priority, priority == 0)
        else
          listed[#listed + 1] = id
        end
        tell(B, 'waiting', 'jobId', id)
        any_ready = true
      end
      answers[i + 1] = 'N' .. id
    end
  end
end
each('LPUSH', list_of(B), listed)
if any_ready then
  mark(B)
end
if any_due then
  mark_due(B)
end
trim()
return answers
