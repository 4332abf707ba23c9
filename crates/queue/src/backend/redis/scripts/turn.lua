-- The end of a turn: what it says and counts.
if any_due then
  places.mark_due(B)
end
if any_final and not stirs and call('EXISTS', B .. 'wait', B .. 'paused', B .. 'prioritized', B .. 'active') == 0
  and not (any_groups() and call('ZCOUNT', B .. 'delayed', PARKED, '+inf') > 0) then
  tell(B, 'drained')
end
keep_counts(ARGV[10])
keep_groups()
return { table.concat(answers), held, next_code, next_at }
