-- What the scripts share. KEYS[1]: "<prefix>:<queue>:", KEYS[2]: "<prefix>::lk:<queue>:", ARGV[1]: now in milliseconds.
-- A base ("b") is the first of these, of this queue or of a parent's.
--
-- A function costs when it is made and a number when it is handed to a command, in every call of every script: what few calls
-- need is made in rooms, and numbers that are known as texts stay texts.
local B, O, stamp = KEYS[1], KEYS[2], ARGV[1]
local now = tonumber(stamp)
local call = redis.call

local HELD = 9007199254740991 -- the count of a limiter that is held by hand
local CUT = 1000 -- arguments of one variadic command
local GROUPED = 2097152 -- the priority of a job of a group: BullMQ's lowest, behind all of ours
local HEAD = 2 ^ 54 -- scores of the heads of groups begin here, behind all priorities
local PARKED = 2 ^ 62 -- scores of the jobs behind them, among the delayed ones, behind all times
local LINE = 2 ^ 42 -- scores of one group's line
local STALLED = 'job stalled more than allowable limit' -- BullMQ's word; it goes before what a child's failure says
local lanes = {} -- what is known of the groups of a queue

-- Rooms are tables of functions. A room's loaders make them when the first one is wanted; `furnish` brings the loaders.
local furnish
local ROOM = { __index = function(room, name)
  setmetatable(room, nil)
  if furnish then
    local all = furnish
    furnish = nil
    all()
  end
  for _, load in ipairs(room) do
    load()
  end
  return room[name]
end }
local places, dedup, kin = setmetatable({}, ROOM), setmetatable({}, ROOM), setmetatable({}, ROOM)
local groups, minutes = setmetatable({}, ROOM), setmetatable({}, ROOM)

-- Calls a command with a key and many arguments, in pieces.
local function each(command, key, list)
  for i = 1, #list, CUT do
    call(command, key, unpack(list, i, math.min(i + CUT - 1, #list)))
  end
end

local function delete(keys)
  for i = 1, #keys, CUT do
    call('UNLINK', unpack(keys, i, math.min(i + CUT - 1, #keys)))
  end
end

local metas = {}
local function meta(b)
  local known = metas[b]
  if not known then
    local v = call('HMGET', b .. 'meta', 'paused', 'concurrency', 'max', 'opts.maxLenEvents', 'lk:groups')
    if not v[4] then
      v[4] = '10000'
      call('HSET', b .. 'meta', 'opts.maxLenEvents', v[4])
    end
    known = { paused = v[1] ~= false, slots = tonumber(v[2]), max = tonumber(v[3]), events = v[4], groups = v[5],
      stream = b .. 'events', told = 0 }
    metas[b] = known
  end
  return known
end

-- Writes an event. The first one of a script cuts the stream, and of many every five-hundredth.
local function tell(b, ...)
  local known = metas[b] or meta(b)
  if known.told % 500 == 0 then
    call('XADD', known.stream, 'MAXLEN', '~', known.events, '*', 'event', ...)
  else
    call('XADD', known.stream, '*', 'event', ...)
  end
  known.told = known.told + 1
end

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
-- families goes, too. That they have neither is known of `single` ones.
local function gather(b, ids, by_hand, keys, single)
  for _, id in ipairs(ids) do
    local key, n = b .. id, #keys
    keys[n + 1], keys[n + 2], keys[n + 3], keys[n + 4], keys[n + 5], keys[n + 6] = key, key .. ':logs', key .. ':dependencies',
      key .. ':processed', key .. ':failed', key .. ':unsuccessful'
    if not single then
      local v = redis.pcall('HMGET', key, 'parentKey', 'deid', 'lk:f')
      if v[3] then
        kin.disband(b, id)
        call('HDEL', key, 'lk:f') -- a child that ends before the key goes is not recorded any more
      end
      if v[1] then
        places.beside(kin.child_gone, key, v[1], call('HGET', key, 'parent'))
      end
      if by_hand then
        keys[n + 7] = key .. ':lock'
        if v[2] then
          dedup.removed(b, id, v[2])
        end
      end
    end
  end
end
