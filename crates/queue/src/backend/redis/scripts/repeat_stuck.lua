-- Schedulers whose slot lies before a time and whose job does not wait; those that rest are passed over.
-- ARGV: now, the time, how many to look at, the score and the id of the last one looked at before ('' for none).
local set, before, most = B .. 'repeat', tonumber(ARGV[2]), tonumber(ARGV[3])
local WAITS = { wait = true, prioritized = true, delayed = true }

-- Whether a text comes after another in the server's order, that of bytes.
local function after(a, b)
  for n = 1, math.min(#a, #b) do
    local x, y = a:byte(n), b:byte(n)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

local from = 0
if ARGV[4] ~= '' then
  from = call('ZCOUNT', set, '-inf', '(' .. ARGV[4])
  local to = from + call('ZCOUNT', set, ARGV[4], ARGV[4])
  while from < to do
    local middle = math.floor((from + to) / 2)
    if after(call('ZRANGE', set, middle, middle)[1], ARGV[5]) then
      to = middle
    else
      from = middle + 1
    end
  end
end
local page = call('ZRANGE', set, from, from + most - 1, 'WITHSCORES')
local found, looked, last = {}, 0, 0
for n = 1, #page, 2 do
  local sid, score = page[n], page[n + 1]
  if tonumber(score) >= before then
    break
  end
  looked, last = looked + 1, n
  local own = call('HMGET', B .. 'repeat:' .. sid, 'lk:rest', 'ic') -- without a count it is a repeatable job of BullMQ 5
  if own[2] and own[1] ~= score and not WAITS[places.where(B, 'repeat:' .. sid .. ':' .. score) or ''] then
    found[#found + 1] = stand(sid, true)
  end
end
if looked == most then
  return { found, page[last + 1], page[last] }
end
return { found, '', '' }
