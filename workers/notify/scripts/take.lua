-- Take a target's lease, if nobody holds it and somebody has begun with the target.
-- KEYS: lease, state. ARGV: nonce, lease in ms. Returns the state, or nil.
local state = redis.call('GET', KEYS[2])
-- As with a shard's, see workers/lease.py.
local left = redis.call('PTTL', KEYS[1])
if not state or left == -1 or (left >= 0 and left <= tonumber(ARGV[2])) then
  return false
end
-- A script that begins with a delete passes also when Redis is out of memory.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return state
