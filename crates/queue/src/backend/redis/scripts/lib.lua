-- What all scripts share that know groups, families and deduplication.
local HELD = 9007199254740991 -- the count of a limiter that is held by hand
local HEAD = 2 ^ 54 -- scores of the heads of groups begin here, behind all priorities
local LINE = 2 ^ 42 -- scores of one group's line
local STALLED = 'job stalled more than allowable limit' -- BullMQ's word; it goes before what a child's failure says
local lanes = {} -- what is known of the groups of a queue
local places, dedup = setmetatable({}, ROOM), setmetatable({}, ROOM)
local kin, groups = setmetatable({}, ROOM), setmetatable({}, ROOM)

-- Writes back what is known of groups; to be called at the end of a script.
local function keep_groups()
  if next(lanes) then
    groups.store()
  end
end

-- Says that something may be taken.
local function mark(b)
  local known = meta(b)
  if not known.paused and not (known.slots and call('LLEN', b .. 'active') >= known.slots) then
    call('ZADD', b .. 'marker', '0', '0')
  end
end

-- Gathers the keys of jobs that stand in no list any more. Their parents wait for them no longer; what is known of their own
-- families goes, too.
local function gather(b, ids, by_hand, keys)
  for _, id in ipairs(ids) do
    local key = b .. id
    local v = redis.pcall('HMGET', key, 'parentKey', 'deid', 'lk:f')
    keys_of(b, id, keys)
    if v[3] then
      kin.disband(b, id)
      call('HDEL', key, 'lk:f') -- a child that ends before the key goes is not recorded any more
    end
    if v[1] then
      places.beside(kin.child_gone, key, v[1], call('HGET', key, 'parent'))
    end
    if by_hand then
      keys[#keys + 1] = key .. ':lock'
      if v[2] then
        dedup.removed(b, id, v[2])
      end
    end
  end
end
