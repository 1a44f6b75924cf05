-- Let go of a shard that was held while rooms were moved.
-- KEYS: lease, inbox. ARGV: the mark of who holds it.
if redis.call('TYPE', KEYS[2]).ok == 'string' then
  redis.call('DEL', KEYS[2])
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
