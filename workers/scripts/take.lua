-- Take a shard's lease, if nobody holds it, and read the first batch of its inbox. The wake-up is
-- answered with that: a deposit that comes later finds the lease, an earlier one is in the inbox.
-- KEYS: lease, wake, commit, inbox, audit. ARGV: nonce, lease in ms, how many entries at most.
-- Returns the commit token (empty before the first commit), the entries, the audit lines of the last
-- commit where nobody is known to have written them, and the time in ms since 1970; or nil where the
-- lease is held.
-- One that has longer to live than any is given was begun before the clock was set back, and is
-- nobody's (workers/lease.py).
local left = redis.call('PTTL', KEYS[1])
if left == -1 or (left >= 0 and left <= tonumber(ARGV[2])) then
  return false
end
-- The delete comes first: out of memory, a script that begins with a delete still passes.
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local time = redis.call('TIME')
return {
  redis.call('GET', KEYS[3]) or '',
  redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', ARGV[3]),
  redis.call('GET', KEYS[5]) or '',
  time[1] * 1000 + math.floor(time[2] / 1000),
}
