-- Groups, by the rules of groups/turns.rs. Of each group that may start something the first ready job, its head, stands in
-- `prioritized` behind all priorities. The others wait in its line: the range of scores in `delayed` that belongs to the
-- group's number, behind every time. A job of a group has BullMQ's lowest priority, and the group in its field "lk:g".
--
-- What is known of all groups stands in the field "lk:groups" of `meta`, which is there while there is any. Under our own
-- keys: "groups" (id -> record), "names" (ids, to be walked), "numbers" (a bit for each that is taken), "heads" (by virtual
-- time), "due" and "over" (when groups with and without jobs are to be looked at again), "unseen" (where the look after new
-- defaults goes on), "astray" (where the look after what stands among the heads and is none goes on), "held" and "abroad"
-- (active jobs that count in their group: those of our workers by the time they were seen last, those of others by the time
-- they are to be looked at).
groups[#groups + 1] = function()
  local STEP, END = 1000000, 9214364837600034815
  local TURN, TURNS, NUMBERS = 2 ^ 10, 2 ^ 32, 2 ^ 20 -- in a line: between two jobs, places; lines
  local ABROAD = 1000 -- how often, in ms, is looked whether another's worker has ended a job

  local function lane(b)
    local l = lanes[b]
    if not l then
      l = { b = b, own = places.own_of(b), all = {}, changed = {}, text = meta(b).groups or nil }
      local n = {}
      for word in (l.text or ''):gmatch('%S+') do
        n[#n + 1] = tonumber(word)
      end
      l.time, l.number, l.slots, l.max, l.per, l.unseen = n[1] or 0, n[2] or 0, n[3] or 0, n[4] or 0, n[5] or 0, n[6] or 0
      lanes[b] = l
    end
    return l
  end

  -- Its name where groups stand in the order of their numbers.
  local function member(g)
    return string.format('%07d', g.number) .. g.id
  end

  local function line(g)
    local from = PARKED + g.number * LINE
    return from, '(' .. string.format('%.17g', from + LINE)
  end

  local function rate(l, g)
    if g.max > 0 then
      return g.max, g.per
    end
    return l.max, l.per
  end

  -- When the window ends that has begun.
  local function window_end(l, g)
    local max, per = rate(l, g)
    if max > 0 and g.began <= now and now < g.began + per then
      return g.began + per, max
    end
  end

  -- Whether a group may start something: open, paused, full, or limited until a time.
  local function status(l, g)
    if g.paused then
      return 'P'
    end
    local slots = g.slots > 0 and g.slots or l.slots
    if slots > 0 and g.active >= slots then
      return 'F'
    end
    if g.till > now then
      return 'L', g.till
    end
    local ends, max = window_end(l, g)
    if ends and g.used >= max then
      return 'L', ends
    end
    return 'O'
  end

  local function started(l, g)
    if rate(l, g) > 0 then
      if not window_end(l, g) then
        g.used, g.began = 0, now
      end
      g.used = g.used + 1
    end
  end

  local function step(g)
    return math.floor(STEP / g.weight)
  end

  -- The head is not where it was put: another's worker has taken it, or it was removed. The turn is used up.
  local function vanished(l, g)
    local id = g.head
    call('ZREM', l.own .. 'heads', member(g))
    g.head, g.mended = nil, true
    l.time = math.max(l.time, g.last)
    local there = call('EXISTS', l.b .. id) == 1
    if not there or call('HEXISTS', l.b .. id, 'processedOn') == 1 then
      started(l, g)
    end
    if there and call('LPOS', l.b .. 'active', id) then
      g.active = g.active + 1
      call('ZADD', l.own .. 'abroad', now + ABROAD, g.id .. '\n' .. id)
    end
  end

  -- A group that is there.
  local function record(l, id)
    local g = l.all[id]
    if g then
      return g
    end
    local packed = call('HGET', l.own .. 'groups', id)
    if not packed then
      return nil
    end
    local v = cmsgpack.unpack(packed)
    g = { id = id, packed = packed, number = v[1], weight = v[2], paused = v[3], slots = v[4], max = v[5], per = v[6],
      used = v[7], began = v[8], till = v[9], last = v[10], active = v[11], head = v[12] or nil, due = v[13] or nil,
      idle = v[14], low = v[15], high = v[16] }
    g.was_due, g.was_idle = g.due, g.idle
    l.all[id] = g
    g.waiting = call('ZCOUNT', l.b .. 'delayed', line(g))
    if g.head then
      if (tonumber(call('ZSCORE', l.b .. 'prioritized', g.head)) or 0) >= HEAD then
        g.waiting = g.waiting + 1
      else
        vanished(l, g)
      end
    end
    return g
  end

  local function undue(l, g)
    if g.was_due then
      call('ZREM', l.own .. (g.was_idle and 'over' or 'due'), member(g))
    end
  end

  local function forget(l, g)
    l.all[g.id], l.touched = nil, true
    call('SETBIT', l.own .. 'numbers', g.number, 0)
    if g.packed then
      undue(l, g)
      call('HDEL', l.own .. 'groups', g.id)
      call('ZREM', l.own .. 'names', g.id)
    end
  end

  local function put(l, g)
    local packed = cmsgpack.pack({ g.number, g.weight, g.paused, g.slots, g.max, g.per, g.used, g.began, g.till, g.last,
      g.active, g.head or false, g.due or false, g.idle, g.low, g.high })
    if packed == g.packed then
      return
    end
    if not g.packed then
      call('ZADD', l.own .. 'names', 0, g.id)
    end
    call('HSET', l.own .. 'groups', g.id, packed)
    if g.due ~= g.was_due or g.idle ~= g.was_idle then
      undue(l, g)
      if g.due then
        call('ZADD', l.own .. (g.idle and 'over' or 'due'), g.due, member(g))
      end
    end
    g.packed, g.was_due, g.was_idle = packed, g.due, g.idle
  end

  -- Writes back what has changed.
  local function keep(l)
    if #l.changed == 0 and not l.touched then
      return
    end
    for _, g in ipairs(l.changed) do
      if l.all[g.id] == g then
        put(l, g)
      end
      g.changed = false
    end
    l.changed, l.touched = {}, false
    local any = call('EXISTS', l.own .. 'names') == 1
    if not any then
      call('UNLINK', l.own .. 'numbers', l.own .. 'unseen', l.own .. 'astray', l.own .. 'heads', l.own .. 'due', l.own .. 'over')
      l.time, l.number, l.unseen = 0, 0, 0
    end
    local text = (any or l.slots > 0 or l.max > 0)
      and string.format('%.0f %d %d %d %.0f %d', l.time, l.number, l.slots, l.max, l.per, l.unseen) or nil
    if text ~= l.text then
      if text then
        call('HSET', l.b .. 'meta', 'lk:groups', text)
      else
        call('HDEL', l.b .. 'meta', 'lk:groups')
      end
      l.text = text
    end
  end

  function groups.store()
    for _, l in pairs(lanes) do
      keep(l)
    end
  end

  -- A number that no group has; nil when all are taken.
  local function number(l)
    local n, key = (l.number + 1) % NUMBERS, l.own .. 'numbers'
    if call('GETBIT', key, n) == 1 then
      n = call('BITPOS', key, 0, math.floor(n / 8))
      if n >= NUMBERS then
        n = call('BITPOS', key, 0)
      end
      if n >= NUMBERS then
        return nil
      end
    end
    call('SETBIT', key, n, 1)
    l.number = n
    return n
  end

  -- A group, made when it is not there; for each that is made two are forgotten whose time is over. Nil when there are too many.
  local function open(l, id)
    local g = record(l, id)
    if g then
      return g
    end
    keep(l)
    for _, over in ipairs(call('ZRANGEBYSCORE', l.own .. 'over', '-inf', now, 'LIMIT', 0, 2)) do
      local old = record(l, over:sub(8))
      if old and member(old) == over and old.waiting + old.active == 0 then
        forget(l, old)
      else
        call('ZREM', l.own .. 'over', over)
      end
    end
    local n = number(l)
    if not n then
      return nil
    end
    g = { id = id, number = n, weight = 1, paused = false, slots = 0, max = 0, per = 0, used = 0, began = 0, till = 0, last = 0,
      active = 0, waiting = 0, low = TURNS / 2, high = TURNS / 2 }
    l.all[id] = g
    return g
  end

  -- Puts a job into the line.
  local function park(l, g, id, front)
    local turn
    if front then
      g.low = math.max(g.low - 1, 0)
      turn = g.low
    else
      g.high = math.min(g.high + 1, TURNS - 1)
      turn = g.high
    end
    call('ZADD', l.b .. 'delayed', line(g) + turn * TURN, id)
  end

  local function stand_in(l, g, id)
    call('ZADD', l.b .. 'prioritized', HEAD + g.last, id)
    call('ZADD', l.own .. 'heads', g.last, member(g))
  end

  local function rise(l, g, id)
    g.last = math.min(math.max(l.time, g.last) + step(g), END)
    g.head = id
  end

  local function lower(l, g)
    local id = g.head
    call('ZREM', l.b .. 'prioritized', id)
    call('ZREM', l.own .. 'heads', member(g))
    g.head, g.joined, g.last = nil, nil, math.max(g.last - step(g), 0)
    park(l, g, id, true)
  end

  -- After any change: whether a group gets a head or loses it, and when it is to be looked at again. While heads are handed
  -- out, one that is raised joins them and stays in its line until it is known whether it is taken.
  local function settle(l, g)
    if not g.changed then
      g.changed = true
      l.changed[#l.changed + 1] = g
    end
    local state, till = status(l, g)
    if not g.head and g.waiting > 0 and state == 'O' then
      local from, to = line(g)
      local first = call('ZRANGEBYSCORE', l.b .. 'delayed', from, to, 'LIMIT', 0, 1)[1]
      if not first then
        g.waiting = 0
      else
        rise(l, g, first)
        if l.joins then
          l.joins(g)
        else
          call('ZREM', l.b .. 'delayed', first)
          stand_in(l, g, first)
        end
      end
    elseif g.head and not (g.waiting > 0 and state == 'O') then
      lower(l, g)
    end
    if g.waiting == (g.head and 1 or 0) then
      g.low, g.high = TURNS / 2, TURNS / 2
    end
    local plain = not g.paused and g.weight == 1 and g.slots == 0 and g.max == 0
    g.due, g.idle = nil, g.waiting == 0 and g.active == 0
    if state == 'L' and g.waiting > 0 then
      g.due = till
    elseif plain and g.idle then
      local ends = g.used > 0 and window_end(l, g)
      if ends or g.till > now then
        g.due = math.max(ends or 0, g.till > now and g.till or 0)
      end
    end
    if plain and g.idle and not g.due then
      forget(l, g)
    end
  end

  local function join(l, g, id, front)
    g.waiting = g.waiting + 1
    if g.head and front then
      call('ZREM', l.b .. 'prioritized', g.head)
      park(l, g, g.head, true)
      call('ZADD', l.b .. 'prioritized', HEAD + g.last, id)
      g.head = id
    elseif not g.head and (front or g.waiting == 1) and status(l, g) == 'O' then
      rise(l, g, id)
      stand_in(l, g, id)
    else
      park(l, g, id, front)
    end
    settle(l, g)
  end

  -- The group of a job. Another writer's jobs name it in their options alone.
  local function group_of(b, id)
    local v = call('HMGET', b .. id, 'lk:g', 'opts')
    local of = v[1] or places.options(v[2]).gr
    if v[1] or type(of) ~= 'string' or #of == 0 or #of > 255 or of:find('%c') then
      return v[1]
    end
    call('HSET', b .. id, 'lk:g', of)
    return of
  end

  -- Whether a job counted among the active ones of its group; it does so no longer.
  local function uncount(l, of, id)
    local name = of .. '\n' .. id
    return call('ZREM', l.own .. 'held', name) + call('ZREM', l.own .. 'abroad', name) > 0
  end

  -- A new job of a group is ready; false when it can be in none.
  function groups.add(b, id, of, front)
    local l = lane(b)
    local g = open(l, of)
    if g then
      join(l, g, id, front)
    end
    return g ~= nil
  end

  -- A job is ready that stood elsewhere; one that another's client has put among those without groups goes to the front when
  -- it was active.
  function groups.enter(b, id, front, astray)
    local of = group_of(b, id)
    local l = of and lane(b)
    local g = l and open(l, of)
    if not g then
      return false
    end
    if uncount(l, of, id) then
      g.active = math.max(g.active - 1, 0)
      front = front or astray
    end
    join(l, g, id, front)
    return true
  end

  -- A job has left the active ones, but not for the ready ones.
  function groups.left(b, id)
    local of = group_of(b, id)
    local l = of and lane(b)
    local g = l and uncount(l, of, id) and record(l, of)
    if g then
      g.active = math.max(g.active - 1, 0)
      settle(l, g)
    end
  end

  -- A ready job is removed that stood in its group, or among the heads without being one.
  function groups.removed(b, id)
    local of = group_of(b, id)
    local l = of and lane(b)
    local g = l and record(l, of)
    local parked = call('ZREM', b .. 'delayed', id)
    call('ZREM', b .. 'prioritized', id)
    if not g or (g.head ~= id and parked == 0) then
      return
    end
    g.waiting = math.max(g.waiting - 1, 0)
    if g.head == id then
      call('ZREM', l.own .. 'heads', member(g))
      g.head, g.last = nil, math.max(g.last - step(g), 0)
    end
    settle(l, g)
  end

  -- Carries out an order to a group.
  local function order(l, g, what, w, x, y, z)
    if what == 'set' then
      if g.head and w ~= g.weight then
        lower(l, g)
      end
      g.weight, g.slots, g.max, g.per = w, x, y, z
    elseif what == 'pause' or what == 'resume' then
      g.paused = what == 'pause'
    elseif what == 'hold' then
      g.till = math.max(g.till, w)
    elseif what == 'clear' then
      g.used, g.began, g.till = 0, 0, 0
    end
    settle(l, g)
  end

  -- The group of an active job is to start nothing before a time.
  function groups.hold(b, id, till)
    local of = group_of(b, id)
    local l = of and lane(b)
    local g = l and record(l, of)
    if g then
      order(l, g, 'hold', till)
    end
  end

  -- Looks at groups for which other defaults hold now; answers at how many.
  local function look_again(l)
    if l.unseen == 0 then
      return 0
    end
    keep(l)
    local from = call('GET', l.own .. 'unseen')
    local names = call('ZRANGEBYLEX', l.own .. 'names', from and '(' .. from or '-', '+', 'LIMIT', 0, 200)
    for _, id in ipairs(names) do
      local g = record(l, id)
      if g then
        settle(l, g)
      end
    end
    if #names == 200 then
      call('SET', l.own .. 'unseen', names[200])
    else
      call('DEL', l.own .. 'unseen')
      l.unseen, l.touched = 0, true
    end
    return #names
  end

  groups.lane, groups.record, groups.open, groups.order, groups.settle = lane, record, open, order, settle
  groups.keep, groups.status, groups.started, groups.stand_in, groups.look_again = keep, status, started, stand_in, look_again
  groups.lower, groups.member, groups.group_of = lower, member, group_of

  -- Takes a job off where it is; answers whether it was there.
  function groups.take_off(b, id, place, score)
    if place == 'prioritized' and tonumber(score) >= HEAD then
      groups.removed(b, id)
      return true
    end
    if place == 'wait' then
      return places.unlist(b, id) > 0
    elseif place == 'active' then
      if call('LREM', b .. place, -1, id) == 0 then
        return false
      end
      if meta(b).groups then
        groups.left(b, id)
      end
      return true
    end
    return call('ZREM', b .. place, id) == 1
  end
end
