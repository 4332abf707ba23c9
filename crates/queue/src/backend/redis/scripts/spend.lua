-- Writes budgets that nobody has changed. KEYS: budgets. ARGV for each: as it was read, as it is to be, how long it is kept.
for n, key in ipairs(KEYS) do
  if (redis.call('GET', key) or '') ~= ARGV[3 * n - 2] then
    return 0
  end
end
for n, key in ipairs(KEYS) do
  if ARGV[3 * n - 1] ~= ARGV[3 * n - 2] then
    redis.call('SET', key, ARGV[3 * n - 1], 'PX', ARGV[3 * n])
  end
end
return 1
