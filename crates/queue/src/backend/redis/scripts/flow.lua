-- Adds a flow that was planned from what was known, unless that has changed.
-- KEYS[3]: the names of all queues, then the bases of its own.
-- ARGV: now, most children, how many jobs were known, their base, id and text each; how many queues, their names; then for
-- each job: queue, id, name, data, opts, delay, priority, lifo, group, whether it is a parent, fate, parent, policy.
-- A fate is "n" (new), "l" (there, to be linked) or "e" (there, as it is to be). A parent is the number of a job before, or a
-- base and an id.
local NODE = 14
local FLAGS = { 'fpof', 'cpof', 'idof', 'rdof' }

-- What was known.
local at = 4
for _ = 1, tonumber(ARGV[3]) do
  if known(ARGV[at], ARGV[at + 1])[1] ~= ARGV[at + 2] then
    return 0
  end
  at = at + 3
end
local queues = {}
for n = 1, tonumber(ARGV[at]) do
  queues[n] = { b = KEYS[n + 3], name = ARGV[at + n], jobs = 0, waiting = {}, ended = {} }
end
at = at + #queues + 1

-- Its jobs, and those that are to wait for any of them.
local nodes, families = {}, {}
local function family_of(node, parent, id)
  local above = nodes[tonumber(parent)]
  local key = above or parent .. id
  if above and above.id ~= '' then
    key = above.b .. above.id
  end
  local family = families[key]
  if not family then
    family = { node = above, b = above and above.b or parent, id = id, children = {}, jsons = {} }
    families[key] = family
    families[#families + 1] = family
  end
  family.children[#family.children + 1] = node
  return family
end
for from = at, #ARGV, NODE do
  local queue = queues[tonumber(ARGV[from])]
  local node = { from = from, queue = queue, b = queue.b, id = ARGV[from + 1], fate = ARGV[from + 10],
    policy = tonumber(ARGV[from + 13]) }
  nodes[#nodes + 1] = node
  queue.jobs = queue.jobs + 1
  if ARGV[from + 11] ~= '' and node.fate ~= 'e' then
    node.parent = family_of(node, ARGV[from + 11], ARGV[from + 12])
  end
end
for _, family in ipairs(families) do
  if not family.node or family.node.fate ~= 'n' then
    local id = family.node and family.node.id or family.id
    if children_of(family.b, id) + #family.children > tonumber(ARGV[2]) then
      return 0
    end
  end
end

-- From here on it is carried out.
for _, queue in ipairs(queues) do
  queue.last = call('INCRBY', queue.b .. 'id', queue.jobs) - queue.jobs
  call('SADD', KEYS[3], queue.name)
end

-- What a child is told of its parent: two fields of its hash, and its options.
local function told_of(family, policy)
  local flag = FLAGS[policy]
  if not family.key then
    family.id = family.node and family.node.id or family.id
    family.key = family.b .. family.id
    family.ref = cjson.encode({ id = family.id, queue = family.b:sub(1, -2) })
    family.mark = call('HGET', family.key, 'lk:family')
    if not family.mark then
      family.mark = tostring(call('INCR', places.own_of(family.b) .. 'family'))
      call('HSET', family.key, 'lk:family', family.mark)
    end
  end
  if not family.jsons[policy] then
    local parent = { id = family.id, queueKey = family.b:sub(1, -2) }
    if flag then
      parent[flag] = true
    end
    family.jsons[policy] = cjson.encode(parent)
  end
  return { 'parentKey', family.key, 'parent', family.jsons[policy], 'lk:in', family.mark }, flag and ',"' .. flag .. '":true' or ''
end

local function add(node, more, opts)
  local b, id, from, queue = node.b, node.id, node.from, node.queue
  local wait, priority = tonumber(ARGV[from + 5]), tonumber(ARGV[from + 6])
  local of = ARGV[from + 8]
  if of ~= '' then
    more = { 'lk:g', of, unpack(more or {}) }
  end
  places.store(b, id, ARGV[from + 2], ARGV[from + 3], opts, priority, wait, more)
  if ARGV[from + 9] == '1' then
    call('ZADD', b .. 'waiting-children', now, id)
    tell(b, 'waiting-children', 'jobId', id)
  elseif wait > 0 then
    places.delay(b, id, now + wait)
    tell(b, 'delayed', 'jobId', id, 'delay', now + wait)
    queue.due = true
  else
    if priority > 0 or ARGV[from + 7] == '1' then
      places.ready(b, id, priority, priority == 0 or (priority == GROUPED and ARGV[from + 7] == '1'))
    else
      queue.waiting[#queue.waiting + 1] = id
    end
    tell(b, 'waiting', 'jobId', id)
    queue.ready = true
  end
end

local answers = {}
for n, node in ipairs(nodes) do
  local queue, opts = node.queue, ARGV[node.from + 4]
  queue.last = queue.last + 1
  if node.id == '' then
    node.id = string.format('%.0f', queue.last)
  end
  local key, more, flag = node.b .. node.id, nil, nil
  if node.parent then
    more, flag = told_of(node.parent, node.policy)
  end
  if node.fate == 'n' then
    if more then
      opts = opts:sub(1, -2) .. (opts == '{}' and '' or ',') .. '"parent":' .. node.parent.ref .. flag .. '}'
    end
    add(node, more, opts)
    answers[n] = 'N' .. node.id
  else
    tell(node.b, 'duplicated', 'jobId', node.id)
    if more then
      call('HSET', key, unpack(more))
      local place = places.where(node.b, node.id)
      if place == 'completed' or place == 'failed' then
        queue.ended[#queue.ended + 1] = { key, more, place }
      end
    end
    answers[n] = 'E' .. node.id
  end
end

-- Families whose parent is gone; a few are looked for whenever there is a new one.
local function purge(b)
  for _, id in ipairs(call('SRANDMEMBER', places.own_of(b) .. 'families', 2)) do
    if call('HEXISTS', b .. id, 'lk:f') == 0 then
      kin.disband(b, id)
    end
  end
end

for _, family in ipairs(families) do
  local b, id, key = family.b, family.id, family.key
  local kids = kin.kids_of(b, id)
  local many = #family.children
  local last = call('HINCRBY', key, 'lk:f', many) - many
  if last == 0 then
    kin.disband(b, id)
    purge(b)
    call('SADD', places.own_of(b) .. 'families', id)
  end
  local members, numbered = {}, {}
  for n, child in ipairs(family.children) do
    members[n] = child.b .. child.id
    numbered[2 * n - 1], numbered[2 * n] = (last + n) * 8 + child.policy, members[n]
  end
  each('SADD', key .. ':dependencies', members)
  each('ZADD', kids, numbered)
end

-- Those that have ended already say so at once.
for _, queue in ipairs(queues) do
  for _, child in ipairs(queue.ended) do
    local key, more, place = unpack(child)
    local v = call('HMGET', key, 'returnvalue', 'failedReason')
    if place == 'completed' then
      kin.child_completed(key, more[2], more[4], v[1] or 'null')
    else
      kin.child_failed(key, more[2], more[4], v[2] or '')
    end
  end
end
for _, queue in ipairs(queues) do
  each('LPUSH', places.list_of(queue.b), queue.waiting)
  if queue.ready then
    mark(queue.b)
  end
  if queue.due then
    places.mark_due(queue.b)
  end
end
keep_groups()
return answers
