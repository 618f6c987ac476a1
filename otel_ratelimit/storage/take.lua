-- Count for one client in several windows, in all of them or in none (CounterStore.take).
--
-- KEYS     one for each window
-- ARGV     cost; 1 to count, 0 to only read; then for each window: amount, seconds, strategy, 1 if in shadow
-- Returns  1 or 0 (allowed), then for each window: used, seconds to a retry, seconds to the reset
--
-- fixed-window            a string: the count; it expires with the window
-- sliding-window-counter  a hash: i the window's index, c its count, p the count of the one before
-- moving-window           a list of the times of the units taken, in microseconds, the newest first

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local cost = tonumber(ARGV[1])
local counting = ARGV[2] == '1'
-- Key expiry is in milliseconds, and a key still exists in its last millisecond.
local TICK = 0.002

local function fixed_wait(key, amount, seconds)
  local used = tonumber(redis.call('GET', key) or 0)
  if used + cost <= amount then return 0 end
  return redis.call('PTTL', key) / 1000 + TICK
end

local function fixed_add(key, amount, seconds)
  if redis.call('EXISTS', key) == 1 then
    redis.call('INCRBY', key, cost)
  else
    redis.call('SET', key, cost, 'PX', seconds * 1000)
  end
end

local function fixed_state(key, amount, seconds)
  local used = redis.call('GET', key)
  if not used then return 0, 0 end
  return tonumber(used), math.max(0, redis.call('PTTL', key)) / 1000
end

local function sliding_read(key, seconds)
  local index = math.floor(now / seconds)
  local held = redis.call('HMGET', key, 'i', 'p', 'c')
  local at = tonumber(held[1] or -2)
  if at >= index then return at, tonumber(held[2]), tonumber(held[3]), math.max(now, at * seconds) end
  if at == index - 1 then return index, tonumber(held[3]), 0, now end
  return index, 0, 0, now
end

local function sliding_wait(key, amount, seconds)
  local index, previous, current, at = sliding_read(key, seconds)
  local last = (index + 1) * seconds
  if math.floor(previous * (last - at) / seconds + current) + cost <= amount then return 0 end
  if current + cost > amount then
    previous, current, last = current, 0, last + seconds
  end
  -- The weighted count is rounded down, so the cost fits as soon as the count is below room + 1.
  local moment = last - (amount - cost - current + 1) * seconds / previous
  return math.max(moment, at) - now + TICK
end

local function sliding_add(key, amount, seconds)
  local index, previous, current = sliding_read(key, seconds)
  redis.call('HSET', key, 'i', index, 'p', previous, 'c', current + cost)
  redis.call('PEXPIRE', key, math.ceil(((index + 2) * seconds - now) * 1000))
end

local function sliding_state(key, amount, seconds)
  local index, previous, current, at = sliding_read(key, seconds)
  local last = (index + 1) * seconds
  local reset = 0
  if current > 0 then reset = last + seconds - now elseif previous > 0 then reset = last - now end
  return math.floor(previous * (last - at) / seconds + current), reset
end

local function moving_time(key, index)
  local moment = redis.call('LINDEX', key, index)
  return moment and tonumber(moment) / 1000000
end

-- Removes the entries that are older than the window; the length of the list is then the units in use.
local function moving_used(key, seconds)
  local oldest = moving_time(key, -1)
  while oldest and oldest <= now - seconds do
    redis.call('RPOP', key)
    oldest = moving_time(key, -1)
  end
  return redis.call('LLEN', key)
end

local function moving_wait(key, amount, seconds)
  local used = moving_used(key, seconds)
  if used + cost <= amount then return 0 end
  -- The cost fits as soon as this entry expires.
  return math.max(moving_time(key, amount - cost) + seconds - now, 0) + TICK
end

local function moving_add(key, amount, seconds)
  -- A whole number takes nine bytes in a list, a fraction twice that.
  local moment = string.format('%.0f', now * 1000000)
  local batch = {}
  for i = 1, cost do
    batch[#batch + 1] = moment
    if #batch == 5000 or i == cost then
      redis.call('LPUSH', key, unpack(batch))
      batch = {}
    end
  end
  redis.call('PEXPIRE', key, seconds * 1000 + 1)
end

local function moving_state(key, amount, seconds)
  local used = moving_used(key, seconds)
  if used == 0 then return 0, 0 end
  return used, math.max(0, moving_time(key, 0) + seconds - now)
end

local STRATEGIES = {
  ['fixed-window'] = {wait = fixed_wait, add = fixed_add, state = fixed_state},
  ['sliding-window-counter'] = {wait = sliding_wait, add = sliding_add, state = sliding_state},
  ['moving-window'] = {wait = moving_wait, add = moving_add, state = moving_state},
}

local windows, allowed, observed = {}, true, true
for i, key in ipairs(KEYS) do
  local first = 4 * i - 1
  local window = {
    key = key,
    amount = tonumber(ARGV[first]),
    seconds = tonumber(ARGV[first + 1]),
    does = STRATEGIES[ARGV[first + 2]],
    shadow = ARGV[first + 3] == '1',
  }
  if cost > window.amount then
    window.wait = window.seconds
  else
    window.wait = window.does.wait(key, window.amount, window.seconds)
  end
  if window.wait > 0 then
    if window.shadow then observed = false else allowed = false end
  end
  windows[i] = window
end

local function count_all()
  for _, window in ipairs(windows) do
    if allowed and (observed or not window.shadow) then
      window.does.add(window.key, window.amount, window.seconds)
    end
  end
end

-- At its `maxmemory`, a server rejects the first write of a script if that could take memory, but no later write.
-- A client with a live counter is still counted: the first write sets the expiry of its counter to the value that
-- it has, which takes no memory. So limits hold for known clients, and only new clients are left to `on_error`.
local function has_live_counter()
  for _, key in ipairs(KEYS) do
    local left = redis.call('PTTL', key)
    if left > 0 and redis.call('PEXPIRE', key, left) == 1 then return true end
  end
  return false
end

if counting and cost > 0 then
  local counted, problem = pcall(count_all)
  if not counted then
    problem = type(problem) == 'table' and problem.err or tostring(problem)
    local full = string.find(problem, 'OOM command not allowed', 1, true)
    if full and has_live_counter() then
      count_all()
    elseif full then
      return redis.error_reply("OOM command not allowed when used memory > 'maxmemory'.")
    else
      -- Servers before Redis 7 put the place and a minus sign before the code.
      return redis.error_reply((string.gsub(problem, '^@user_script: ?%d+: %-?', '')))
    end
  end
end

local answer = {allowed and 1 or 0}
for _, window in ipairs(windows) do
  local used, reset = window.does.state(window.key, window.amount, window.seconds)
  answer[#answer + 1] = used
  answer[#answer + 1] = string.format('%.6f', window.wait)
  answer[#answer + 1] = string.format('%.6f', reset)
end
return answer
