-- Adds jobs that ask for nothing but to be run, as most do. It stands alone, since what others share costs more to make
-- than this; add.lua says the same of all jobs. Answers nothing, and does nothing, when the queue is paused: then it is to be
-- found out where jobs wait.
-- KEYS: the queue's base, ours, and the names of all queues. ARGV: now, jobs, the queue's name, then for each job: id, name,
-- data, opts.
local jobs = tonumber(ARGV[2])
local JOB, CUT = 4, 1000
local meta, stream = B .. 'meta', B .. 'events'
local known = call('HMGET', meta, 'paused', 'concurrency', 'opts.maxLenEvents')
if known[1] then
  return false
end
local most = known[3]
if not most then
  most = '10000'
  call('HSET', meta, 'opts.maxLenEvents', most)
end

local last = call('INCRBY', B .. 'id', jobs)
if last == jobs then
  call('SADD', KEYS[3], ARGV[3])
end
local answers, added = {}, {}
for n = 1, jobs do
  local at = JOB * n
  local id, name = ARGV[at], ARGV[at + 1]
  local key = B .. id
  if id ~= '' and call('EXISTS', key) == 1 then
    call('XADD', stream, 'MAXLEN', '~', most, '*', 'event', 'duplicated', 'jobId', id)
    answers[n] = 'E' .. id
  else
    if id == '' then
      id = string.format('%d', last - jobs + n)
      key = B .. id
    end
    call('HSET', key, 'name', name, 'data', ARGV[at + 2], 'opts', ARGV[at + 3], 'timestamp', stamp, 'delay', '0',
      'priority', '0')
    if #added % 250 == 0 then
      call('XADD', stream, 'MAXLEN', '~', most, '*', 'event', 'added', 'jobId', id, 'name', name)
    else
      call('XADD', stream, '*', 'event', 'added', 'jobId', id, 'name', name)
    end
    call('XADD', stream, '*', 'event', 'waiting', 'jobId', id)
    added[#added + 1] = id
    answers[n] = 'N' .. id
  end
end
for from = 1, #added, CUT do
  call('LPUSH', B .. 'wait', unpack(added, from, math.min(from + CUT - 1, #added)))
end
local slots = tonumber(known[2])
if #added > 0 and not (slots and call('LLEN', B .. 'active') >= slots) then
  call('ZADD', B .. 'marker', '0', '0')
end
return answers
