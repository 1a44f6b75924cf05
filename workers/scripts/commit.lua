-- The one atomic step of a drain: remove a batch from the inbox and write all that came of it.
-- Lua does not roll back, so everything is checked before the first write, and the first write is
-- the removal: out of memory, a script that begins so still passes, and frees what it removed.
-- KEYS: lease, commit, inbox, events, alerts, dead, audit, verdicts, then a key for each room.
-- ARGV: nonce, the commit token that was read, the new one, lease in ms, the first inbox id to keep,
--       the audit lines, then for events, alerts and dead how many entries and the stream's maxlen,
--       then a record for each room, then how many verdicts there are, and names and counts in
--       turn, then the entries: for each how many values, and names and values in turn.
-- Returns 1 when committed, 0 when the lease is lost, -1 when another commit came between.
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
local verdicts = redis.call('TYPE', KEYS[8]).ok
if verdicts ~= 'hash' and verdicts ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[8] .. ' is a ' .. verdicts .. ', not a hash')
end
local counts = 13 + #KEYS - 8
local entries = {}
local at = counts + 1 + 2 * ARGV[counts]
while at <= #ARGV do
  local entry = {}
  for i = 1, tonumber(ARGV[at]) do
    entry[i] = ARGV[at + i]
  end
  entries[#entries + 1] = entry
  at = at + #entry + 1
end

redis.call('XTRIM', KEYS[3], 'MINID', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[3])
-- Whoever commits has written the lines of the commit before, so these may take their place.
redis.call('SET', KEYS[7], ARGV[6])
for i = 9, #KEYS do
  redis.call('SET', KEYS[i], ARGV[13 + i - 9])
end
for i = counts + 1, counts + 2 * ARGV[counts], 2 do
  redis.call('HINCRBY', KEYS[8], ARGV[i], ARGV[i + 1])
end
local next = 0
for stream = 0, 2 do
  for _ = 1, tonumber(ARGV[7 + 2 * stream]) do
    next = next + 1
    -- An entry has some dozen fields, so this unpack stays far below Lua's limit of 8,000.
    redis.call(
      'XADD', KEYS[4 + stream], 'MAXLEN', '~', ARGV[8 + 2 * stream], '*', unpack(entries[next])
    )
  end
end
return 1
