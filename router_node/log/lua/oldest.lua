-- Find when the oldest unsettled event of one partition was accepted.
-- KEYS: in:<p> for each of the ten priorities 0..9.
-- Returns microseconds since 1970 as text, '' when nothing is unsettled. An entry without events (a fence), or one that no
-- node wrote, counts with the time of its id, which is not after that of any entry behind it.
local oldest = nil
for _, stream in ipairs(KEYS) do
  local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if entry then
    local at = entry[2][1] == 'p' and string.match(entry[2][2], '^%d+ %d+ (%d+)')
    local us = tonumber(at or string.match(entry[1], '^%d+') .. '000')
    oldest = math.min(oldest or us, us)
  end
end
return oldest and string.format('%.0f', oldest) or ''
