-- Reads jobs: of each the place, the score in it and the hash. ARGV: now, then ids.
local found = {}
for n = 2, #ARGV do
  local id = ARGV[n]
  local h = call('HGETALL', B .. id)
  if #h == 0 then
    found[n - 1] = 0
  else
    local place, score = places.where(B, id)
    found[n - 1] = { id, place, score or '', h, kin.has_parent(id) }
  end
end
return found
