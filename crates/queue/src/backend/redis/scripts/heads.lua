-- Handing out the heads of groups, and setting right what other clients' workers have done to them.

groups[#groups + 1] = function()
  local record, settle, keep, status, started, stand_in = groups.record, groups.settle, groups.keep, groups.status, groups.started,
    groups.stand_in
  local lower, member = groups.lower, groups.member
  local ABROAD = 1000
  local MENDED, LOOKED = 1000, 500 -- heads that one take sets right; places that one look goes through

  -- Gives groups their heads whose time has come; answers at how many it has looked.
  function groups.wake(l)
    local looked = groups.look_again(l)
    keep(l)
    local due = call('ZRANGEBYSCORE', l.own .. 'due', '-inf', now, 'LIMIT', 0, 200)
    for _, name in ipairs(due) do
      local g = record(l, name:sub(8))
      if g and member(g) == name and g.due and g.due <= now then
        settle(l, g)
      else
        call('ZREM', l.own .. 'due', name)
        if g and g.due and not g.idle then
          call('ZADD', l.own .. 'due', g.due, member(g))
        end
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

  -- Whether a group's head stands in the order of heads where it is to be taken.
  local function stands(l, g)
    return tonumber(call('ZSCORE', l.own .. 'heads', member(g))) == g.last
  end

  -- Takes heads one after the other in their order; each that is taken brings in the next of its group, which competes at once.
  -- `activate` answers whether a job is there, and whether it starts. What stands in the order and is no head leaves it. Answers
  -- whether there was more to set right than one step does.
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
        insert({ last = tonumber(heads[n + 1]), number = tonumber(heads[n]:sub(1, 7)) or 0, id = heads[n]:sub(8), name = heads[n] })
      end
      read = read + #heads / 2
    end
    function l.joins(g)
      g.joined = true
      insert({ last = g.last, number = g.number, id = g.id })
    end
    local function take(g)
      local id = g.head
      call('ZREM', l.b .. (g.joined and 'delayed' or 'prioritized'), id)
      g.head, g.joined, g.waiting = nil, nil, g.waiting - 1
      local there, starts = activate(id)
      l.time = math.max(l.time, g.last)
      if there then
        g.active = g.active + 1
        if starts then
          started(l, g)
        end
        held[#held + 1], held[#held + 2] = now, g.id .. '\n' .. id
      end
      return there
    end
    more(room)
    while taken < room and mended < MENDED and candidates[at] do
      local c, there = candidates[at], false
      at = at + 1
      if c.name then
        call('ZREM', l.own .. 'heads', c.name)
        read = read - 1
      end
      local g = record(l, c.id)
      if g and g.head and g.number == c.number and g.last == c.last and status(l, g) == 'O' then
        there = take(g)
      elseif g and g.head and not g.joined and not stands(l, g) then
        lower(l, g)
      end
      if g then
        settle(l, g)
      end
      if there then
        taken = taken + 1
      else
        mended = mended + 1
        more(1)
      end
    end
    l.joins = nil
    for n = at, #candidates do
      local c = candidates[n]
      local g = not c.name and record(l, c.id)
      if g and g.joined then
        call('ZREM', l.b .. 'delayed', g.head)
        stand_in(l, g, g.head)
        g.joined = nil
      end
    end
    each('ZADD', l.own .. 'held', held)
    return mended == MENDED
  end

  -- Goes, some at a time, through what stands behind all priorities when that is more than there are heads: what is none goes
  -- into its group, or behind all that has a priority; what stands there only is put back into the order of heads. Answers
  -- whether there was anything.
  local function look_astray(l)
    local from = call('ZCOUNT', l.b .. 'prioritized', '-inf', '(' .. string.format('%.17g', HEAD))
    local many, place = call('ZCARD', l.b .. 'prioritized') - from, l.own .. 'astray'
    if many <= call('ZCARD', l.own .. 'heads') then
      return false
    end
    local at = tonumber(call('GET', place)) or 0
    at = at < many and at or 0
    local ids, astray, any = call('ZRANGE', l.b .. 'prioritized', from + at, from + at + LOOKED - 1), {}, false
    for _, id in ipairs(ids) do
      local of = groups.group_of(l.b, id)
      local g = of and record(l, of)
      if not (g and g.head == id) then
        astray[#astray + 1] = id
      elseif not stands(l, g) then
        stand_in(l, g, id)
        any = true
      end
    end
    each('ZREM', l.b .. 'prioritized', astray)
    for _, id in ipairs(astray) do
      if not groups.enter(l.b, id, false) then
        places.ready(l.b, id, math.huge, false)
      end
    end
    at = at + #ids - #astray
    if at < many - #astray then
      call('SET', place, at)
    else
      call('DEL', place)
    end
    return any or #astray > 0
  end

  -- Looks, in bounded steps, for what only another's client can have left: heads that are gone, jobs that ended elsewhere,
  -- records of what was removed, and what stands in the place of heads. Answers whether any head was put right.
  function groups.mend(l)
    look_abroad(l)
    look_after(l, 'held', now - 30000, now, 100)
    local any = look_astray(l)
    local names = call('HRANDFIELD', l.own .. 'groups', 10)
    for _, name in ipairs(call('ZRANGE', l.own .. 'heads', 0, 99)) do
      names[#names + 1] = name:sub(8)
      local g = record(l, name:sub(8))
      if not (g and g.head and member(g) == name) then
        call('ZREM', l.own .. 'heads', name)
      end
    end
    for _, id in ipairs(names) do
      local g = record(l, id)
      if g and g.head and not stands(l, g) then
        stand_in(l, g, g.head)
        any = true
      end
      local waits = g and not g.due and l.unseen == 0
      if g and (g.mended or (waits and not g.head and g.waiting > 0 and status(l, g) == 'O')
        or (waits and g.waiting + g.active == 0 and not g.idle)) then
        settle(l, g)
      end
    end
    return any
  end

  groups.look_abroad = look_abroad
end
