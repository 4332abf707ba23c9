-- Reads schedulers. ARGV: now, whether to look where their jobs are, ids.
local found = {}
for n = 3, #ARGV do
  found[n - 2] = stand(ARGV[n], ARGV[2] == '1')
end
return found
