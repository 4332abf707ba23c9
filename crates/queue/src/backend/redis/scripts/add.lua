-- Adds jobs. KEYS[3]: the names of all queues.
-- ARGV: now, jobs, the queue's name, then for each job:
-- id, name, data, opts, delay, priority, lifo, deduplication id, its time, its flags, group.
local jobs, JOB = tonumber(ARGV[2]), 11
local answers, listed = {}, {}
local any_ready, any_due = false, false

local last = call('INCRBY', B .. 'id', jobs)
if last == jobs then
  call('SADD', KEYS[3], ARGV[3])
end
for i = 0, jobs - 1 do
  local at = 4 + JOB * i
  local id = ARGV[at]
  local own_id = id ~= ''
  if not own_id then
    id = string.format('%d', last - jobs + 1 + i)
  end
  if own_id and call('EXISTS', B .. id) == 1 then
    tell(B, 'duplicated', 'jobId', id)
    answers[i + 1] = 'E' .. id
  else
    local wait, priority, de, of, more = ARGV[at + 4], ARGV[at + 5], ARGV[at + 7], ARGV[at + 10], nil
    local owner, postponed
    if de ~= '' then
      owner, postponed = dedup.claim(at, id, tonumber(wait))
      any_due = any_due or postponed
    end
    if owner then
      answers[i + 1] = 'D' .. owner
    else
      if de ~= '' then
        more = { 'deid', de }
      end
      if of ~= '' then
        more = { 'lk:g', of, unpack(more or {}) }
      end
      places.store(B, id, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], priority, wait, more)
      if wait ~= '0' then
        local due = now + tonumber(wait)
        places.delay(B, id, due)
        tell(B, 'delayed', 'jobId', id, 'delay', due)
        any_due = true
      else
        local first = ARGV[at + 6] == '1'
        if of ~= '' then
          if not groups.add(B, id, of, first) then
            places.ready(B, id, GROUPED, false)
          end
        elseif priority ~= '0' or first then
          places.ready(B, id, tonumber(priority), priority == '0')
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
if #listed > 0 then
  each('LPUSH', meta(B).paused and places.list_of(B) or B .. 'wait', listed)
end
if any_ready then
  mark(B)
end
if any_due then
  places.mark_due(B)
end
keep_groups()
return answers
