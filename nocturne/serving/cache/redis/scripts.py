"""Lua scripts that a Redis server runs in one step. All time is the server's."""

SECONDS_NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
"""

# a set that is already done counts as done: the connection may have broken before the answer came
# pointer, generations, info: expected, new, generation, load. The generation must be the load that was counted.
COMPARE_AND_SET = """
local current = redis.call('GET', KEYS[1]) or ''
if current == ARGV[2] then return 1 end
if redis.call('SISMEMBER', KEYS[2], ARGV[3]) == 0 or redis.call('HGET', KEYS[3], 'load') ~= ARGV[4] then return -1 end
if current ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# stamp, takedowns: the stamp expected, the new one, the new takedowns
SET_OVERLAY = """
local stamp = redis.call('GET', KEYS[1]) or ''
if stamp == ARGV[2] then return 1 end
if stamp ~= ARGV[1] then return 0 end
redis.call('MSET', KEYS[2], ARGV[3], KEYS[1], ARGV[2])
return 1
"""

# generations, info: generation, load, header, the load that was there when it was looked at. A loader that comes late
# must not begin anew what another has loaded, and perhaps serves, since.
BEGIN = """
if (redis.call('HGET', KEYS[2], 'load') or '') ~= ARGV[4] then return redis.error_reply('LOST the generation') end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], 'load', ARGV[2], 'head', ARGV[3])
return 1
"""

# A load writes only while the server knows it, so that nobody leaves keys that nobody knows: neither after the
# server lost its memory, nor when a loader that was thought dead meets the next one.
OURS = """
if redis.call('HGET', KEYS[1], 'load') ~= ARGV[1] then return redis.error_reply('LOST the generation') end
"""

# info, hash: load, fields and values
STORE = f"""
{OURS}
return redis.call('HSET', KEYS[2], unpack(ARGV, 2))
"""

# info: load, lists, lists a second. Says how many seconds to wait for one's turn: each takes its own after all others.
TURN = f"""
{OURS}
{SECONDS_NOW}
local turn = math.max(now, tonumber(redis.call('HGET', KEYS[1], 'turn') or '0'))
redis.call('HSET', KEYS[1], 'turn', string.format('%.6f', turn + ARGV[2] / ARGV[3]))
return string.format('%.6f', turn - now)
"""

# generations, readers: generation, reader, seconds. A generation that is being dropped is not among the generations.
HOLD = f"""
{SECONDS_NOW}
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[2])
return 1
"""

# generations, dropping, info, readers, pointer: generation. Only commands that a server without memory still takes.
LET_GO = f"""
{SECONDS_NOW}
local pointer = redis.call('GET', KEYS[5])
if pointer then
  pointer = cjson.decode(pointer)
  if pointer.served.name == ARGV[1] then return 'held' end
  for _, kept in ipairs(pointer.earlier) do
    if kept.name == ARGV[1] then return 'held' end
  end
end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
  if redis.call('ZCARD', KEYS[4]) > 0 then return 'held' end
  redis.call('SMOVE', KEYS[1], KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], 'load')
  return 'dropping'
end
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return 'dropping' end
return 'gone'
"""
