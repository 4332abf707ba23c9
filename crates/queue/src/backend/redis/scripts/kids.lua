-- Reads what parents know of their children.
local MOST = 10000 -- children of one parent that are looked at

-- Elements of a collection, at most about so many.
local function some(command, scan, step, key, count)
  if count <= MOST then
    return call(command, key)
  end
  local found, page = {}, call(scan, key, 0, 'COUNT', MOST)[2]
  for n = 1, #page, step do
    found[#found + 1] = page[n]
  end
  return found
end

-- All children of a family whose record is not whole, in order: those without a number come last, by their keys.
local function gathered(key, kids, last, counts)
  local all, known, without = {}, {}, {}
  local lists = {
    some('SMEMBERS', 'SSCAN', 1, key .. ':dependencies', counts[1]),
    some('HKEYS', 'HSCAN', 2, key .. ':processed', counts[2]),
    some('HKEYS', 'HSCAN', 2, key .. ':failed', counts[3]),
    call('ZRANGE', key .. ':unsuccessful', 0, MOST - 1),
  }
  for _, list in ipairs(lists) do
    for _, child in ipairs(list) do
      if not known[child] then
        known[child] = true
        local score = last > 0 and call('ZSCORE', kids, child)
        if score then
          all[#all + 1] = { tonumber(score), child }
        else
          without[#without + 1] = child
        end
      end
    end
  end
  if last > 0 and call('ZCARD', kids) > #all then
    for _, child in ipairs(call('ZRANGE', kids, 0, -1)) do
      if not known[child] then
        call('ZREM', kids, child)
      end
    end
  end
  table.sort(without)
  for n, child in ipairs(without) do
    all[#all + 1] = { (last + n) * 8, child }
  end
  table.sort(all, function(x, y) return x[1] < y[1] end)
  return all
end

-- Looks at children: those that the parent knows are put into the list, until that has as many as wanted. What another
-- client took from the parent leaves our record, too.
local function look(key, kids, piece, rows, most, pending)
  local names = {}
  for n, child in ipairs(piece) do
    names[n] = child[2]
  end
  local waits = call('SMISMEMBER', key .. ':dependencies', unpack(names))
  local done, dead, doomed = {}, {}, {}
  if not pending then
    done = call('HMGET', key .. ':processed', unpack(names))
    dead = call('HMGET', key .. ':failed', unpack(names))
    doomed = call('ZMSCORE', key .. ':unsuccessful', unpack(names))
  end
  for n, child in ipairs(names) do
    if #rows == most then
      return
    end
    local mark, value
    if waits[n] == 1 then
      mark, value = 'p', ''
    elseif done[n] then
      mark, value = 'c', done[n]
    elseif dead[n] then
      mark, value = 'f', dead[n]
    elseif doomed[n] then
      mark, value = 'u', ''
    end
    if mark then
      local v = call('HMGET', child, 'parentKey', 'parent', 'failedReason')
      local b, id = kin.split(child)
      if mark == 'p' and b and call('ZSCORE', b .. 'failed', id) then
        mark, value = 's', v[3] or ''
      end
      local score = piece[n][1]
      rows[#rows + 1] = { math.floor(score / 8), child, mark, value, score % 8, v[1] == key and v[2] or '', v[3] or '' }
    elseif not pending then
      call('ZREM', kids, child)
    end
  end
end

-- How many children of a job are pending, and its children behind a number, at most so many; all of them or pending ones.
local function children(b, id, after, most, pending)
  local key, rows = b .. id, {}
  local counts = { call('SCARD', key .. ':dependencies'), call('HLEN', key .. ':processed'), call('HLEN', key .. ':failed'),
    call('ZCARD', key .. ':unsuccessful') }
  local last = tonumber(call('HGET', key, 'lk:f')) or 0
  local kids, why = kin.kids_of(b, id)
  local behind, at = string.format('(%.0f', after * 8 + 7), 1
  local whole = last > 0 and call('ZCARD', kids) == counts[1] + counts[2] + counts[3] + counts[4]
  local all = not whole and gathered(key, kids, last, counts)
  while #rows < most do
    local piece = {}
    if whole then
      local page = call('ZRANGEBYSCORE', kids, behind, '+inf', 'WITHSCORES', 'LIMIT', 0, pending and CUT or most - #rows)
      for n = 1, #page, 2 do
        piece[#piece + 1] = { tonumber(page[n + 1]), page[n] }
      end
      behind = '(' .. (page[#page] or '')
    else
      while all[at] and #piece < CUT do
        if all[at][1] >= after * 8 + 8 then
          piece[#piece + 1] = all[at]
        end
        at = at + 1
      end
    end
    if #piece == 0 then
      break
    end
    look(key, kids, piece, rows, most, pending)
  end
  for _, row in ipairs(rows) do
    if row[3] == 'u' then
      row[4] = call('HGET', why, row[2]) or row[7]
    end
    row[7] = nil
  end
  return counts[1], rows
end

