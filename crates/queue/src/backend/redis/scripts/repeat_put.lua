-- Carries out what a scheduler's change came to. KEYS[3]: the names of all queues.
-- ARGV: now, the queue's name, the scheduler, the stamp of what the change was planned from, its score, whether it rests, the
-- job to remove, the job to make ('' for none), that one's name, data, opts, delay, priority, whether it goes in front, group,
-- how many texts the new record has (none: it stays), these, then ticks: their first slots and texts.
local sid, score, gone, made, fields = ARGV[3], ARGV[5], ARGV[7], ARGV[8], tonumber(ARGV[16])
local record, kept = B .. 'repeat:' .. sid, O .. 'ticks:' .. sid
local stands = stand(sid, true)
if stands[7] ~= ARGV[4] then
  return 'C'
end
if made ~= '' and made ~= gone and call('EXISTS', B .. made) == 1 then
  return 'W' .. places.where(B, made)
end
if #stands[3] == 0 then
  call('DEL', kept) -- of one that another writer has removed
end
if gone ~= '' then
  withdraw(gone)
end
if fields > 0 then
  call('DEL', record)
  call('HSET', record, unpack(ARGV, 17, 16 + fields))
elseif made ~= '' then
  call('HINCRBY', record, 'ic', 1)
end
if ARGV[6] == '1' then
  call('HSET', record, 'lk:rest', score)
end
call('ZADD', B .. 'repeat', score, sid)
if made ~= '' then
  if call('INCR', B .. 'id') == 1 then
    call('SADD', KEYS[3], ARGV[2])
  end
  local wait, priority = tonumber(ARGV[12]), tonumber(ARGV[13])
  places.store(B, made, ARGV[9], ARGV[10], ARGV[11], priority, wait, { 'rjk', sid, unpack(ARGV[15] ~= '' and { 'lk:g', ARGV[15] } or {}) })
  places.enqueue(B, made, priority, wait, ARGV[14] == '1')
end
for n = 17 + fields, #ARGV, 2 do
  if call('ZCOUNT', kept, ARGV[n], ARGV[n]) == 0 then
    call('ZADD', kept, ARGV[n], ARGV[n + 1])
  end
end
call('ZREMRANGEBYRANK', kept, 0, -101)
keep_groups()
return 'D'
