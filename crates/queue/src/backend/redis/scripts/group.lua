-- Orders to a group, or, without one, what holds for all that have no settings of their own. KEYS[3]: the names of all queues.
-- ARGV: now, the queue's name, the group, what, and four numbers. Answers 0 when there are too many groups.
call('SADD', KEYS[3], ARGV[2])
local l = groups.lane(B)
local w, x, y, z = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if ARGV[4] == 'defaults' then
  l.slots, l.max, l.per, l.unseen, l.touched = w, x, y, 1, true
  call('DEL', l.own .. 'unseen')
  groups.look_again(l)
else
  local g = groups.open(l, ARGV[3])
  if not g then
    return 0
  end
  groups.order(l, g, ARGV[4], w, x, y, z)
end
keep_groups()
mark(B)
return 1
