-- Reads minutes. ARGV: now, then their numbers.
local rows = {}
for n = 2, #ARGV do
  local row = call('HGET', O .. 'minutes', ARGV[n])
  rows[n - 1] = row and cmsgpack.unpack(row) or {}
end
return rows
