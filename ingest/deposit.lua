-- Deposit one callback and decide whether its shard wants a wake-up, in one round trip.
--
-- KEYS: inbox, lease, wake of one shard.  ARGV: params, token, how long a wake-up is promised (ms),
-- how many entries the inbox may hold.
-- Returns the entry's id, and 1 where the caller is to send a wake-up; or nil where it is full.
--
-- Lua does not roll back. The append comes first, since it is the one command here that can fail
-- (out of memory, read-only replica, a key of another type): it fails before anything is written.
-- Redis refuses for want of memory only a script that has not written yet: what follows passes.
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[4]) then
  return false
end
local id = redis.call('XADD', KEYS[1], '*', 'params', ARGV[1], 'token', ARGV[2])

-- Whoever holds the lease looks into the inbox again before letting go, and an earlier deposit
-- that set `wake` has sent for somebody already.
if redis.call('EXISTS', KEYS[2]) == 0
   and redis.call('SET', KEYS[3], '1', 'NX', 'PX', ARGV[3]) then
  return {id, 1}
end
return {id, 0}
