"""Would a cache pay? From a day of the query log to hit ratio, staleness, memory and latency.

The idea in one page.

A cache that is asked before the database, filled on a miss and that forgets after a time to live (TTL) can be
played back from a log of what was asked and when: an execution is a hit if its key was filled at most a TTL
ago. The log holds a sample of keys, never of executions, so each key that is in it is in it with all its
executions, and the play-back of that key is exact. What differs is how a key came into the sample:

hot keys    kept for certain; a row says how many executions fell into each second (`hot`)
cold keys   kept with a known probability; a row is one execution with its exact time (`cold`)

Hits of hot keys count as they are. Hits of cold ones are known as a share of the sampled executions, which is
applied to all cold executions: how many there were is known exactly, since every execution is counted by
template (`estimate`).

Cold rows arrive by key, hot rows by time; both in pieces, of which one is held at a time. What grows with the
day is only what is kept of each template and each hot key.

SHARDS: Waldspurger et al., Efficient MRC Construction with SHARDS, FAST '15.
TTLs:   Yang et al., A Large Scale Analysis of Hundreds of In-memory Cache Clusters at Twitter, OSDI '20.
"""
