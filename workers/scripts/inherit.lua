-- Add the counts of verdicts of shards that are given up to those of one that stays; once only, and
-- what stands in its inbox while it is held says whether that was done.
-- KEYS: verdicts, inbox. ARGV: the mark of who has done it, then names and counts in turn.
if redis.call('GET', KEYS[2]) == ARGV[1] then
  return 0
end
for i = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
