-- Tell which rooms are to be looked at again, the longest due first.
-- KEYS: due. ARGV: how many at most, and by when in ms since 1970 (empty: by now).
-- Returns that moment, and the keys of the rooms.
local by = tonumber(ARGV[2])
if not by then
  local time = redis.call('TIME')
  by = time[1] * 1000 + math.floor(time[2] / 1000)
end
return {by, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', by, 'LIMIT', 0, ARGV[1])}
