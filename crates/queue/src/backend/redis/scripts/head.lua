-- What every script of a queue begins with. KEYS[1]: "<prefix>:<queue>:", KEYS[2]: "<prefix>::lk:<queue>:", ARGV[1]: now in milliseconds.
local B, O, stamp = KEYS[1], KEYS[2], ARGV[1]
local now = tonumber(stamp)
local call = redis.call
