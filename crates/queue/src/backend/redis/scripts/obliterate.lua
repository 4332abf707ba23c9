-- One step of removing a paused queue. KEYS[3]: the names of all queues.
-- ARGV: now, the queue's name, most, whether jobs that workers hold go too.
local budget = tonumber(ARGV[3])
if call('EXISTS', B .. 'meta', B .. 'id') == 0 then
  call('SREM', KEYS[3], ARGV[2])
  return { 'A', 0 }
end
if not meta(B).paused then
  return { 'P', 0 }
end
if ARGV[4] ~= '1' and call('LLEN', B .. 'active') > 0 then
  return { 'H', 0 }
end

local gone = 0
local function remove(ids)
  places.forget(B, ids, true)
  gone, budget = gone + #ids, budget - #ids
end
-- Parents come before what they go on to when their last child is removed.
for _, place in ipairs({ 'completed', 'failed', 'waiting-children', 'delayed', 'prioritized' }) do
  if budget > 0 then
    local ids = call('ZRANGE', B .. place, 0, budget - 1)
    each('ZREM', B .. place, ids)
    remove(ids)
  end
end
for _, place in ipairs({ 'active', 'wait', 'paused' }) do
  if budget > 0 then
    local ids = call('LRANGE', B .. place, -budget, -1)
    if #ids > 0 then
      call('LTRIM', B .. place, 0, -#ids - 1)
      remove(ids)
    end
  end
end
if budget > 0 then
  local ids, keys = call('ZRANGE', B .. 'repeat', 0, budget - 1), {}
  for _, id in ipairs(ids) do
    keys[#keys + 1], keys[#keys + 2] = B .. 'repeat:' .. id, O .. 'ticks:' .. id
  end
  each('ZREM', B .. 'repeat', ids)
  delete(keys)
  budget = budget - #ids
end
-- What is kept of families outlives parents that another client has removed.
if budget > 0 then
  local ids = call('SPOP', O .. 'families', budget)
  for _, id in ipairs(ids) do
    kin.disband(B, id)
  end
  budget = budget - #ids
end
if budget <= 0 or call('EXISTS', B .. 'completed', B .. 'failed', B .. 'waiting-children', B .. 'delayed',
  B .. 'prioritized', B .. 'active', B .. 'wait') > 0 then
  keep_groups()
  return { 'M', gone }
end
keep_groups() -- parents of other queues may have joined their groups
local rest = {}
for _, name in ipairs({ 'events', 'marker', 'meta', 'id', 'pc', 'limiter', 'stalled', 'stalled-check', 'delay',
  'metrics:completed', 'metrics:completed:data', 'metrics:failed', 'metrics:failed:data' }) do
  rest[#rest + 1] = B .. name
end
for _, name in ipairs({ 'minutes', 'minute', 'lately', 'workers', 'seen', 'families', 'groups', 'names', 'numbers',
  'unseen', 'astray', 'heads', 'due', 'over', 'held', 'abroad' }) do
  rest[#rest + 1] = O .. name
end
call('UNLINK', unpack(rest))
call('SREM', KEYS[3], ARGV[2])
return { 'A', gone }
