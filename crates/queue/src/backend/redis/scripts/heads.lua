-- Handing out the heads of groups, and setting right what other clients' workers have done to them.

groups[#groups + 1] = function()
  local record, settle, keep, status, started, stand_in = groups.record, groups.settle, groups.keep, groups.status, groups.started,
    groups.stand_in
  local ABROAD = 1000

  -- Gives groups their heads whose time has come; answers at how many it has looked.
  function groups.wake(l)
    local looked = groups.look_again(l)
    keep(l)
    local due = call('ZRANGEBYSCORE', l.own .. 'due', '-inf', now, 'LIMIT', 0, 200)
    for _, name in ipairs(due) do
      local g = record(l, name:sub(8))
      if g then
        settle(l, g)
      else
        call('ZREM', l.own .. 'due', name)
      end
    end
    return math.max(looked, #due)
  end

  -- Whether a job is active still.
  local function runs(l, id)
    return call('EXISTS', l.b .. id .. ':lock') == 1 or call('LPOS', l.b .. 'active', id) ~= false
  end

  -- Looks at active jobs that count in their groups: what is active no longer has been ended behind our back.
  local function look_after(l, key, before, again, most)
    for _, name in ipairs(call('ZRANGEBYSCORE', l.own .. key, '-inf', before, 'LIMIT', 0, most)) do
      local of, id = name:match('^([^\n]*)\n(.*)$')
      if runs(l, id) then
        call('ZADD', l.own .. key, again, name)
      else
        call('ZREM', l.own .. key, name)
        local g = record(l, of)
        if g then
          g.active = math.max(g.active - 1, 0)
          settle(l, g)
        end
      end
    end
  end

  local function look_abroad(l)
    look_after(l, 'abroad', now, now + ABROAD, 20)
  end

  -- When the next group may start something that has jobs and may start none now, or is to be looked at for that.
  function groups.next(l)
    keep(l)
    local due = call('ZRANGE', l.own .. 'due', 0, 0, 'WITHSCORES')[2]
    local abroad = call('ZRANGE', l.own .. 'abroad', 0, 0, 'WITHSCORES')[2]
    if abroad and call('ZCOUNT', l.b .. 'delayed', PARKED, '+inf') > 0 then
      -- Whoever may start nothing looks after none of them: their time stands still.
      local again = tonumber(abroad) > now and tonumber(abroad) or now + ABROAD
      return math.min(tonumber(due or again), again)
    end
    return tonumber(due)
  end

  -- Takes heads one after the other in their order; each that is taken brings in the next of its group, which competes at once.
  -- `activate` answers whether a job is there, and whether it starts. Answers whether there was more to set right than one step does.
  function groups.hand_out(l, room, activate)
    local candidates, at, read, taken, mended, held = {}, 1, 0, 0, 0, {}
    local function insert(c)
      local n = #candidates + 1
      while n > at and (candidates[n - 1].last > c.last
        or (candidates[n - 1].last == c.last and candidates[n - 1].number > c.number)) do
        n = n - 1
      end
      table.insert(candidates, n, c)
    end
    -- Heads after those that are among the candidates already.
    local function more(many)
      local heads = call('ZRANGE', l.own .. 'heads', read, read + many - 1, 'WITHSCORES')
      for n = 1, #heads, 2 do
        insert({ last = tonumber(heads[n + 1]), number = tonumber(heads[n]:sub(1, 7)), id = heads[n]:sub(8), name = heads[n] })
      end
      read = read + #heads / 2
    end
    function l.joins(g)
      insert({ last = g.last, number = g.number, id = g.id })
    end
    more(room)
    while taken < room and mended < 1000 and candidates[at] do
      local c = candidates[at]
      at = at + 1
      local g = record(l, c.id)
      if c.name then
        read = read - 1
      end
      if g and g.head and g.last == c.last and status(l, g) == 'O' then
        local id = g.head
        if c.name then
          call('ZREM', l.b .. 'prioritized', id)
          call('ZREM', l.own .. 'heads', c.name)
        else
          call('ZREM', l.b .. 'delayed', id)
        end
        g.head, g.waiting = nil, g.waiting - 1
        local there, starts = activate(id)
        l.time = math.max(l.time, g.last)
        if there then
          g.active = g.active + 1
          if starts then
            started(l, g)
          end
          held[#held + 1], held[#held + 2] = now, g.id .. '\n' .. id
          taken = taken + 1
        end
        settle(l, g)
      else
        mended = mended + 1
        if c.name and not (g and g.head) then
          call('ZREM', l.own .. 'heads', c.name)
        end
        if g then
          settle(l, g)
        end
        more(1)
      end
    end
    l.joins = nil
    for n = at, #candidates do
      local c = candidates[n]
      local g = not c.name and record(l, c.id)
      if g then
        call('ZREM', l.b .. 'delayed', g.head)
        stand_in(l, g, g.head)
      end
    end
    each('ZADD', l.own .. 'held', held)
    return mended == 1000
  end

  -- Looks, in bounded steps, for what only another's client can have left: heads that are gone, jobs that ended elsewhere,
  -- records of what was removed.
  function groups.mend(l)
    look_abroad(l)
    look_after(l, 'held', now - 30000, now, 100)
    local names = call('HRANDFIELD', l.own .. 'groups', 10)
    for _, head in ipairs(call('ZRANGE', l.own .. 'heads', 0, 99)) do
      names[#names + 1] = head:sub(8)
    end
    for _, id in ipairs(names) do
      local g = record(l, id)
      local waits = g and not g.due and l.unseen == 0
      if g and (g.mended or (waits and not g.head and g.waiting > 0 and status(l, g) == 'O')
        or (waits and g.waiting + g.active == 0 and not g.idle)) then
        settle(l, g)
      end
    end
  end

  groups.look_abroad = look_abroad
end
