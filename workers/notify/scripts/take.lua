-- Take a target's lease, if nobody holds it and somebody has begun with the target.
-- KEYS: lease, state. ARGV: nonce, lease in ms. Returns the state, or nil.
local state = redis.call('GET', KEYS[2])
if not state or redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
-- A script that begins with a delete passes also when Redis is out of memory.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return state
