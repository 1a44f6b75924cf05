-- The one atomic step of a drain: remove a batch from the inbox and write all that came of it.
-- Lua does not roll back, so everything is checked before the first write, and the first write is
-- the removal: out of memory, a script that begins so still passes, and frees what it removed.
-- KEYS: lease, commit, inbox, events, alerts, dead, audit, verdicts, due, then a key for each room.
-- ARGV: nonce, the commit token that was read, the new one, lease in ms, the first inbox id to keep
--       (empty: the inbox must be empty, since time may run only while nobody waits), the first id
--       to go and how many go, the audit lines, the entries of events, alerts and dead as
--       MessagePack (three lists of names and values in turn), the maxlen of each of these streams,
--       then for each room its record (empty: it stays as it is), for how many ms it is kept (0:
--       until it is removed) and when it is due (0: never), then verdicts and their counts in turn.
-- Returns 1 when committed, 0 when the lease is lost, -1 when another commit came between or the
-- inbox is not the one that was read, 2 when nothing was committed since callbacks wait.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then
  return -1
end
for i = 3, 6 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'stream' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind .. ', not a stream')
  end
end
for i, wanted in pairs({[8] = 'hash', [9] = 'zset'}) do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= wanted and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind .. ', not a ' .. wanted)
  end
end
if ARGV[5] == '' and redis.call('XLEN', KEYS[3]) > 0 then
  return 2
end
-- After a failover to a replica that lagged, or whose clock did, other callbacks may lie before the
-- last that was taken than were read.
local going = tonumber(ARGV[7])
if going > 0 then
  local found = redis.call('XRANGE', KEYS[3], '-', '(' .. ARGV[5], 'COUNT', going + 1)
  if #found ~= going or found[1][1] ~= ARGV[6] then
    return -1
  end
end
local streams = cmsgpack.unpack(ARGV[9])

-- A command that frees memory comes first in any case.
if ARGV[5] == '' then
  redis.call('DEL', KEYS[7])
else
  redis.call('XTRIM', KEYS[3], 'MINID', ARGV[5])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[3])
-- Whoever commits has written the lines of the commit before, so these may take their place.
redis.call('SET', KEYS[7], ARGV[8])
for i = 10, #KEYS do
  local of = 13 + 3 * (i - 10)
  local record, kept, due = ARGV[of], ARGV[of + 1], ARGV[of + 2]
  if record ~= '' and kept ~= '0' then
    redis.call('SET', KEYS[i], record, 'PX', kept)
  elseif record ~= '' then
    redis.call('SET', KEYS[i], record)
  end
  if due == '0' then
    redis.call('ZREM', KEYS[9], KEYS[i])
  else
    redis.call('ZADD', KEYS[9], due, KEYS[i])
  end
end
for i = 13 + 3 * (#KEYS - 9), #ARGV, 2 do
  redis.call('HINCRBY', KEYS[8], ARGV[i], ARGV[i + 1])
end
for stream, entries in ipairs(streams) do
  for _, entry in ipairs(entries) do
    -- An entry has some dozen fields, so this unpack stays far below Lua's limit of 8,000.
    redis.call('XADD', KEYS[3 + stream], 'MAXLEN', '~', ARGV[9 + stream], '*', unpack(entry))
  end
end
return 1
