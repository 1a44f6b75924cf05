-- Hold a shard while rooms are moved: only one that nobody is at and that nothing waits in.
-- KEYS: lease, wake, inbox, audit. ARGV: the mark of who holds it, how long a lease is given for.
-- Returns 'held', also where the same mark holds it already, or why not: 'lease', 'inbox', 'audit'.
local lease = redis.call('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
-- As in take.lua: one that outlives any is nobody's (workers/lease.py).
if lease and lease ~= ARGV[1] and (left == -1 or left <= tonumber(ARGV[2])) then
  return 'lease'
end
local kind = redis.call('TYPE', KEYS[3]).ok
if kind == 'stream' and redis.call('XLEN', KEYS[3]) > 0 then
  return 'inbox'
end
if redis.call('EXISTS', KEYS[4]) == 1 then
  return 'audit'
end
-- A wake-up finds nothing to do here.
redis.call('DEL', KEYS[2])
-- Without an end: whoever dies at it has to be followed by somebody who finishes.
redis.call('SET', KEYS[1], ARGV[1])
-- Nothing can be appended to a text, so a door that was left running keeps callbacks on its disk.
if kind ~= 'string' then
  redis.call('DEL', KEYS[3])
  redis.call('SET', KEYS[3], ARGV[1])
end
return 'held'
