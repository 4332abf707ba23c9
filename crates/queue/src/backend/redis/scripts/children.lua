-- One page of the children of a job. ARGV: now, id, after, most.
local pending, rows = children(B, ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), false)
return { pending, rows }
