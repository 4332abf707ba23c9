-- Reads minutes, the newest first: their numbers and rows. ARGV: now, the number before which, how many.
minutes.gather()
local found = {}
for n, number in ipairs(call('ZREVRANGEBYSCORE', O .. 'minute', ARGV[2], '-inf', 'LIMIT', 0, ARGV[3])) do
  local row = call('HGET', O .. 'minutes', number)
  found[n] = { number, row and cmsgpack.unpack(row) or {} }
end
return found
