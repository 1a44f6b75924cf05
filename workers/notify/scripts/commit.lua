-- Store how far a target is, on condition that the lease is still the caller's, and renew it.
-- The renewal comes first: out of memory, a script that begins so still passes. What was sent must
-- be remembered then as well, or it would be sent again and again.
-- KEYS: lease, state, firing. ARGV: nonce, lease in ms, the state, how long it is kept in ms, then
--       dedup keys in turn with what is firing under them, or with nothing where it is over.
-- Returns 1 when stored, 0 when the lease is lost.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[3], ARGV[i])
  else
    redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return 1
