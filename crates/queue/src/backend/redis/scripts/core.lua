-- What the scripts share but those of the plain cases. A base ("b") is KEYS[1], of this queue or of a parent's.
--
-- A function costs when it is made and a number when it is handed to a command, in every call of every script: what few calls
-- need is made in rooms, and numbers that are known as texts stay texts.
local CUT = 1000 -- arguments of one variadic command
local GROUPED = 2097152 -- the priority of a job of a group: BullMQ's lowest, behind all of ours
local PARKED = 2 ^ 62 -- scores of the jobs behind heads of groups, among the delayed ones, behind all times

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
local minutes = setmetatable({}, ROOM)

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
    local v = call('HMGET', b .. 'meta', 'paused', 'concurrency', 'max', 'opts.maxLenEvents', 'lk:groups', 'lk:minute')
    if not v[4] then
      v[4] = '10000'
      call('HSET', b .. 'meta', 'opts.maxLenEvents', v[4])
    end
    known = { paused = v[1] ~= false, slots = tonumber(v[2]), max = tonumber(v[3]), events = v[4], groups = v[5],
      minute = v[6], stream = b .. 'events', uncut = 0 }
    metas[b] = known
  end
  return known
end

-- Writes an event. The first one of a script cuts the stream, and of many every five-hundredth.
local function tell(b, ...)
  local known = metas[b] or meta(b)
  local uncut = known.uncut
  if uncut == 0 then
    call('XADD', known.stream, 'MAXLEN', '~', known.events, '*', 'event', ...)
    uncut = 500
  else
    call('XADD', known.stream, '*', 'event', ...)
  end
  known.uncut = uncut - 1
end

-- The count after another one, as texts.
local AFTER = { ['0'] = '1', ['1'] = '2', ['2'] = '3' }
local function after(count)
  return AFTER[count] or string.format('%d', (tonumber(count) or 0) + 1)
end

-- Adds the keys of what is stored of a job.
local function keys_of(b, id, keys)
  local key, n = b .. id, #keys
  keys[n + 1], keys[n + 2], keys[n + 3], keys[n + 4], keys[n + 5], keys[n + 6] = key, key .. ':logs', key .. ':dependencies',
    key .. ':processed', key .. ':failed', key .. ':unsuccessful'
end
