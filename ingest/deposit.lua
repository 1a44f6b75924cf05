-- Deposit callbacks of one shard and decide whether it wants a wake-up, in one call.
--
-- KEYS: inbox, lease, wake of the shard.  ARGV: how long a wake-up is promised (ms), how many
-- entries the inbox may hold, then params and token of each callback.
-- Returns 1 where the caller is to send a wake-up, else 0; then the id of each entry, in their
-- order. Of an inbox that is full by then, the last callbacks get none.
--
-- Lua does not roll back. An append comes first, since it is the one command here that can fail
-- (out of memory, read-only replica, a key of another type): it fails before anything is written.
-- Redis refuses for want of memory only a script that has not written yet: what follows passes.
local room = tonumber(ARGV[2]) - redis.call('XLEN', KEYS[1])
local answer = {0}
for place = 3, #ARGV, 2 do
  if #answer > room then
    break
  end
  answer[#answer + 1] =
    redis.call('XADD', KEYS[1], '*', 'params', ARGV[place], 'token', ARGV[place + 1])
end

-- Whoever holds the lease looks into the inbox again before letting go, and an earlier deposit
-- that set `wake` has sent for somebody already.
if #answer > 1
   and redis.call('EXISTS', KEYS[2]) == 0
   and redis.call('SET', KEYS[3], '1', 'NX', 'PX', ARGV[1]) then
  answer[1] = 1
end
return answer
