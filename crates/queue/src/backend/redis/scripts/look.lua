-- What is known of jobs, and of those that wait for them, upwards. ARGV: now, most of the latter, then base and id of each.
local left, seen, found = tonumber(ARGV[2]), {}, {}
for at = 3, #ARGV, 2 do
  local b, id = ARGV[at], ARGV[at + 1]
  while id and not seen[b .. id] do
    seen[b .. id] = true
    local job = known(b, id)
    found[#found + 1] = { b, id, job[1], job[2] or '', job[3] or 0, job[4] or '', job[5] or '',
      job[2] and children_of(b, id) or 0 }
    if left == 0 or (job[4] or '') == '' then
      break
    end
    left = left - 1
    b, id = job[4], job[5]
  end
end
return found
