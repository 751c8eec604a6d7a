#!lua flags=allow-oom
-- A full Redis must not end ownership: what owners do next is to free its memory.
-- Announce a node (or only look), and learn who else is there.
-- KEYS: nodes. ARGV: node id ('' only to look), incarnation, member time to live in ms, forget after ms, details (JSON).
-- A field of `nodes` is a node id with the value "<heard at, ms> <incarnation> <details>", or "drain <node id>" with the
-- time it was asked for. Returns {1, now in microseconds, field, value...}, or {0, incarnation} and changes nothing when
-- another node lives under this id.
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(now_us / 1000)
if ARGV[1] ~= '' then
  local before = redis.call('HGET', KEYS[1], ARGV[1])
  if before then
    local at, incarnation = string.match(before, '^(%d+) (%S+) ')
    if incarnation ~= ARGV[2] and now - tonumber(at) <= tonumber(ARGV[3]) then
      return {0, incarnation}
    end
  end
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s %s', now, ARGV[2], ARGV[5]))
end
local answer = {1, string.format('%.0f', now_us)}
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
  local at = string.match(found[i + 1], '^(%d+)')
  local subject = string.match(found[i], '^drain (.+)$')
  local heard = subject and redis.call('HEXISTS', KEYS[1], subject) == 1
  if not heard and now - tonumber(at or '0') > tonumber(ARGV[4]) then
    redis.call('HDEL', KEYS[1], found[i])
  else
    answer[#answer + 1] = found[i]
    answer[#answer + 1] = found[i + 1]
  end
end
return answer
