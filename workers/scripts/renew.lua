-- Hold what is held for longer, or no longer: with 0, it is gone at once.
-- KEYS: what is held. ARGV: the nonce of who holds it, for how many ms.
-- Returns whether it was held.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
