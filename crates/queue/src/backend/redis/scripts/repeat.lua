-- A scheduler as it stands: its id, its score, its record, its job's options, starts and, if asked for, place, and a stamp
-- that changes with any of them.
local function stand(sid, whole)
  local score = call('ZSCORE', B .. 'repeat', sid) or ''
  local record = call('HGETALL', B .. 'repeat:' .. sid)
  local id = 'repeat:' .. sid .. ':' .. score
  local job = score ~= '' and call('HMGET', B .. id, 'opts', 'ats') or {}
  local opts, starts = job[1] or '', job[2] or '0'
  local place = whole and score ~= '' and places.where(B, id) or ''
  local stamp = whole and redis.sha1hex(table.concat({ score, place, starts, opts, table.concat(record, '\0') }, '\0')) or ''
  return { sid, score, record, opts, starts, place, stamp }
end

-- Removes a scheduler's job that nobody has taken.
local function withdraw(id)
  local place, score = places.where(B, id)
  groups.take_off(B, id, place, score)
  places.forget(B, { id }, true)
  tell(B, 'removed', 'jobId', id, 'prev', place)
end
