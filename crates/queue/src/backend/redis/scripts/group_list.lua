-- Reads groups: of each its id, its record, how many jobs wait in it, and whether its head stands in the order of takes.
-- ARGV: now, most, whether ids follow, and those, or the id after which to begin ('' for none).
local names, most = {}, tonumber(ARGV[2])
if ARGV[3] == '1' then
  names = { unpack(ARGV, 4) }
else
  local from = ARGV[4] == '' and '-' or '(' .. ARGV[4]
  names = call('ZRANGEBYLEX', O .. 'names', from, '+', 'LIMIT', 0, most)
end
local found = {}
for _, id in ipairs(names) do
  local packed = #found < most and call('HGET', O .. 'groups', id)
  if packed then
    local v = cmsgpack.unpack(packed)
    local from = PARKED + v[1] * LINE
    local turn = v[12] and (tonumber(call('ZSCORE', B .. 'prioritized', v[12])) or 0) >= HEAD and 1 or 0
    local waiting = call('ZCOUNT', B .. 'delayed', from, '(' .. string.format('%.17g', from + LINE)) + turn
    local texts = {}
    for n = 1, 11 do
      texts[n] = n == 3 and (v[3] and '1' or '0') or string.format('%.0f', v[n])
    end
    found[#found + 1] = { id, texts, waiting, turn }
  end
end
return { call('HGET', B .. 'meta', 'lk:groups') or '', found }
