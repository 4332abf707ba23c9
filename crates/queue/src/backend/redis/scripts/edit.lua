-- Changes single jobs. ARGV: now, then for each change: what, id, and two arguments; those of log: how many lines, nothing, the lines.
-- Answers for as many changes, from the first one on, as it made: at least one. Removing from deep inside `wait` walks it; a
-- script does that once, so that whoever else uses the server has his turn before the next walk.
local answers = {}
local KEPT = { completed = true, failed = true }
local NEAR = 1000 -- from either end of `wait`
local LOOKS = 100 -- near an end cost about as much as a walk
local left = LOOKS

-- Takes a waiting job off its list: in a few steps near an end of it, else in a walk.
local function unlist_once(b, id)
  for _, list in ipairs(call('EXISTS', b .. 'paused') == 1 and { 'wait', 'paused' } or { 'wait' }) do
    for _, from in ipairs({ -1, 1 }) do
      if call('LPOS', b .. list, id, 'RANK', from, 'MAXLEN', NEAR) then
        left = left - 1
        return call('LREM', b .. list, from, id) > 0
      end
    end
  end
  left = left - LOOKS
  return places.unlist(b, id) > 0
end

local changes = {}

function changes.progress(key, id, value)
  call('HSET', key, 'progress', value)
  tell(B, 'progress', 'jobId', id, 'data', value)
end

function changes.data(key, _, value)
  call('HSET', key, 'data', value)
end

function changes.log(key, _, count, _, at)
  local keep = math.min(tonumber(places.options(call('HGET', key, 'opts')).kl) or 1000, 1000)
  local lines = { unpack(ARGV, at + 4, at + 3 + tonumber(count)) }
  each('RPUSH', key .. ':logs', lines)
  if keep == 0 then
    call('UNLINK', key .. ':logs')
  else
    call('LTRIM', key .. ':logs', -keep, -1)
  end
end

function changes.promote(_, id)
  local place = places.where(B, id)
  if place ~= 'delayed' then
    return 'W' .. place
  end
  call('ZREM', B .. 'delayed', id)
  places.promote(B, id)
  mark(B)
end

function changes.retry(key, id, reset)
  local place = places.where(B, id)
  if not KEPT[place] then
    return 'W' .. place
  end
  revive(key, id, place, reset == '1')
  mark(B)
end

function changes.remove(key, id)
  local place, score = places.where(B, id)
  if place == 'active' and call('EXISTS', key .. ':lock') == 1 then
    return 'K'
  end
  local taken
  if place ~= 'wait' then
    taken = groups.take_off(B, id, place, score)
  elseif left <= 0 then
    return 'next'
  else
    taken = unlist_once(B, id)
  end
  if not taken then
    return 'M'
  end
  tell(B, 'removed', 'jobId', id, 'prev', place)
  places.forget(B, { id }, true)
  if place == 'active' then
    mark(B) -- there is a slot for another one
  end
end

function changes.cancel(key, id)
  local place = places.where(B, id)
  if KEPT[place] then
    return 'W' .. place
  end
  call('HSET', key, 'lk:c', 1)
  call('HSETNX', key, 'defa', 'the job was canceled')
  if place == 'waiting-children' then
    call('ZREM', B .. place, id)
    local priority = tonumber(call('HGET', key, 'priority')) or 0
    call('HSET', key, 'lk:at', now)
    places.ready(B, id, priority, true)
    mark(B)
    tell(B, 'waiting', 'jobId', id, 'prev', place)
  end
end

function changes.detach(key, id)
  local v = call('HMGET', key, 'parentKey', 'parent')
  if not v[1] or call('EXISTS', v[1]) == 0 or call('SISMEMBER', v[1] .. ':dependencies', key) == 0 then
    return 'P'
  end
  kin.child_gone(key, v[1], v[2])
  call('HDEL', key, 'parentKey', 'parent')
end

local at = 2
while at <= #ARGV do
  local what, id = ARGV[at], ARGV[at + 1]
  local key = B .. id
  local answer
  if what == 'free' then
    answer = call('DEL', B .. 'de:' .. id) == 1 and 'D' or 'M'
  elseif call('EXISTS', key) == 0 then
    answer = 'M'
  else
    answer = changes[what](key, id, ARGV[at + 2], ARGV[at + 3], at) or 'D'
  end
  if answer == 'next' then
    break
  end
  answers[#answers + 1] = answer
  at = at + 4 + (what == 'log' and tonumber(ARGV[at + 2]) or 0)
end
keep_groups()
return answers
