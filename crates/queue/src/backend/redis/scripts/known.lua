-- What a flow's plan goes by: where a job is, whether it has a deduplication id, its parent if that is there, and how many
-- children it has; and all of it but the last as a text to compare with later. The text is empty when the job is not there.
local FINAL = { completed = true, failed = true }
local function known(b, id)
  local key = b .. id
  if call('EXISTS', key) == 0 then
    return { '' }
  end
  local v = call('HMGET', key, 'parentKey', 'parent', 'deid', 'lk:in')
  local place = places.where(b, id)
  local of, parent
  if v[1] and kin.belongs(key, v[1], v[4]) then
    of, parent = kin.parent_of(v[1], v[2])
  end
  local print = table.concat({ FINAL[place] and place or 'open', v[3] and 'd' or '', of and v[1] or '' }, '|')
  return { print, place, v[3] and 1 or 0, of or '', parent or '' }
end

local function children_of(b, id)
  local key = b .. id
  return call('SCARD', key .. ':dependencies') + call('HLEN', key .. ':processed') + call('HLEN', key .. ':failed')
    + call('ZCARD', key .. ':unsuccessful')
end

