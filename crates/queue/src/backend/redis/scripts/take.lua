local held = {}

-- Whether the queue has groups, or has had some before this script.
local function any_groups()
  return meta(B).groups or lanes[B]
end

local GHOSTS = 200
local next_code, next_at, group_at = 'M', 0, nil
local token, most = ARGV[4], tonumber(ARGV[5])
local own = ARGV[8] ~= '' -- a rate of the worker's own
local max = meta(B).max or tonumber(ARGV[8])
local slots = meta(B).slots

if ARGV[7] == '1' then
  places.each_active(function(id, lock)
    if lock == token then
      local key = B .. id
      local h = read(key)
      if h then
        h[10], h[11] = call('HGET', key, 'processedOn'), id
        held[#held + 1] = h
      end
    end
  end)
end
if token ~= '' and #held == 0 then
  local due = call('ZRANGEBYSCORE', B .. 'delayed', '-inf', (now + 1) * 4096 - 1, 'LIMIT', '0', '200')
  if #due > 0 then
    call('ZREM', B .. 'delayed', unpack(due))
    for _, id in ipairs(due) do
      places.promote(B, id)
    end
  end
  if meta(B).paused then
    next_code = 'P'
  else
    if limiter == nil then
      limiter = call('GET', B .. 'limiter')
    end
    local used = tonumber(limiter)
    local limited, until_then = max or used, nil
    if limited then
      until_then, used = places.limiter(max, used)
    end
    local room = most
    if until_then then
      room = 0
    elseif max then
      room = math.min(room, max - used)
    end
    if slots then
      room = math.min(room, slots - call('LLEN', B .. 'active'))
    end
    local woken = any_groups() and groups.wake(groups.lane(B)) or 0
    local taken, missing, popped, counted, busy = {}, {}, 0, 0, false
    local function activate(id, key, h)
      local starts = after(h[6] or '0')
      taken[#taken + 1] = id
      count_wait(h[10] or h[4])
      h[6] = starts
      call('PSETEX', key .. ':lock', ARGV[6], token)
      tell(B, 'active', 'jobId', id, 'prev', 'waiting')
      call('HSET', key, 'processedOn', stamp, 'pb', worker, 'ats', starts)
      if max and not h[8] and not places.expired(id, h[3], starts) then
        counted = counted + 1
      end
      h[10], h[11] = stamp, id
      held[#held + 1] = h
    end
    local function start(ids)
      popped = popped + #ids
      for _, id in ipairs(ids) do
        local key = B .. id
        local h = read(key)
        local enters = h and h[11] == '2097152' and groups.enter(B, id, false, true)
        if not enters and h and (h[4] or h[1]) then
          activate(id, key, h)
        elseif not enters and id:sub(1, 2) ~= '0:' then
          missing[#missing + 1] = id
        end
      end
    end
    -- Ids without a job are passed over, so many at the most.
    local listed, placed
    repeat
      if room == 1 and #taken == 0 then
        local id = call('RPOPLPUSH', B .. 'wait', B .. 'active')
        listed = id and { id } or {}
        start(listed)
        placed = #taken == 1
        if id and not placed then
          call('LPOP', B .. 'active')
        end
      else
        listed = room > #taken and call('RPOP', B .. 'wait', room - #taken) or {}
        start(listed)
      end
    until #listed == 0 or #missing == 0 or #missing >= GHOSTS
    if #taken < room then
      local more = {}
      if any_groups() then -- their heads stand behind the jobs with a priority
        more = call('ZRANGEBYSCORE', B .. 'prioritized', '-inf', '(' .. string.format('%.17g', HEAD), 'LIMIT', '0', room - #taken)
        each('ZREM', B .. 'prioritized', more)
      else
        local ids = call('ZPOPMIN', B .. 'prioritized', room - #taken)
        for n = 1, #ids, 2 do
          more[#more + 1] = ids[n]
        end
      end
      if #more == 0 then
        call('DEL', B .. 'pc')
      end
      start(more)
    end
    if #taken < room and any_groups() then
      groups.look_abroad(groups.lane(B))
      busy = groups.hand_out(groups.lane(B), room - #taken, function(id)
        local key = B .. id
        local h = read(key)
        if h and (h[4] or h[1]) then
          activate(id, key, h)
          return true, not h[8]
        end
        missing[#missing + 1] = id
      end)
    end
    if not placed then
      each('LPUSH', B .. 'active', taken)
    end
    each('LPUSH', B .. 'wait', missing)
    if max and counted > 0 then
      local count = call('INCRBY', B .. 'limiter', counted)
      local per = tonumber(meta(B).max and call('HGET', B .. 'meta', 'duration') or ARGV[9])
      if count == counted and per then
        call('PEXPIRE', B .. 'limiter', per - 1)
        call('HSET', B .. 'meta', 'lk:window', now)
      end
    end
    changed = changed or #taken > 0
    local ghosts = #taken == 0 and #missing > 0 -- what nobody can take is no reason to look again at once
    local left = call('LLEN', B .. 'wait') - (ghosts and #missing or 0)
    if left <= 0 then
      left = left + call('ZCARD', B .. 'prioritized')
    end
    if room > 0 and popped + #taken == 0 and not ghosts and not busy then
      left = 0 -- it stands among the heads of groups and is none, until a rescue
    end
    stirs = #taken + #missing + left > 0
    if busy or math.max(#due, woken) == 200 then
      next_code = 'M'
    elseif left > 0 then
      until_then = limited and places.limiter(max)
      if until_then then
        next_code, next_at = 'L', until_then
      elseif slots and places.full(B) then
        next_code = 'F'
      elseif ghosts then
        next_code, next_at = 'T', now + 1000
      end
    else
      local first = tonumber(call('ZRANGE', B .. 'delayed', '0', '0', 'WITHSCORES')[2])
      local next_due = first and first < PARKED and math.floor(first / 4096)
      group_at = any_groups() and groups.next(groups.lane(B))
      if group_at then
        next_code, next_at = 'L', next_due and math.min(next_due, group_at) or group_at
      elseif next_due then
        next_code, next_at = 'T', next_due
      else
        next_code = first and 'F' or 'E'
      end
    end
    if left > 0 and not ghosts and not (slots and places.full(B))
      and (changed or (not places.limiter(meta(B).max) and (own or not places.limiter(max)))) then
      call('ZADD', B .. 'marker', '0', '0')
    elseif left == 0 and changed and group_at then
      call('ZADD', B .. 'marker', '0', '0') -- others are to know when a group may start something
    end
  end
elseif changed and not meta(B).paused then
  if call('LLEN', B .. 'wait') + call('ZCARD', B .. 'prioritized') > 0 then
    mark(B)
  elseif any_groups() and groups.next(groups.lane(B)) then
    call('ZADD', B .. 'marker', '0', '0')
  end
end
