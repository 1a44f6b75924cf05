-- Tell the time, and which rooms are to be looked at again by now, the longest due first.
-- KEYS: due. ARGV: how many at most.
-- Returns milliseconds since 1970, and the keys of the rooms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {now, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])}
