-- Give a shard's lease back when its inbox is empty, or hand the shard on with what is left in it.
-- KEYS: lease, wake, inbox. ARGV: nonce, '1' to hand on, how long the promised wake-up holds in ms.
-- Returns 'released', 'handed-on' (the caller sends a wake-up), 'waiting' (callbacks came; the
-- lease stays) or 'lost'.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'lost'
end
if redis.call('XLEN', KEYS[3]) == 0 then
  redis.call('DEL', KEYS[1])
  return 'released'
end
if ARGV[2] ~= '1' then
  return 'waiting'
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
return 'handed-on'
