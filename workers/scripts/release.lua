-- Give a shard's lease back when its inbox is empty, or hand the shard on with what is left in it.
-- KEYS: lease, wake, inbox, audit, due. ARGV: nonce, '1' to hand on, '1' where the last commit's
-- audit lines are known to be written, how long a promised wake-up holds in ms.
-- Returns 'released', 'handed-on' (the caller sends a wake-up), 'waiting' (callbacks came) or 'due'
-- (rooms are to be looked at again; in both cases the lease stays), or 'lost'.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'lost'
end
local empty = redis.call('XLEN', KEYS[3]) == 0
if not empty and ARGV[2] ~= '1' then
  return 'waiting'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZCOUNT', KEYS[5], '-inf', now) > 0
if due and ARGV[2] ~= '1' then
  return 'due'
end
redis.call('DEL', KEYS[1])
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[4])
end
if empty and not due then
  return 'released'
end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[4])
return 'handed-on'
