"""Would a cache pay? From a day of the query log to hit ratio, staleness, memory, latency and a yes or no.

The idea in one page.

The cache is asked before the database, is filled on a miss, and forgets an answer after a time to live (TTL).
A log of what was asked, and when, is enough to replay such a cache: an execution is a hit if its key was
filled at most a TTL before. The log holds a sample of keys and not of executions, so it has all executions of
each key that it has, and the replay of that key is exact. Keys come into the sample in two ways:

hot keys    are kept for certain; a row says how many executions were in each second
cold keys   are kept with a known probability; a row is one execution with its exact time

The hits of hot keys count as they are. The hits of cold keys are known as a share of the sampled executions,
and that share is applied to all cold executions. Their number is known exactly, since the log counts every
execution by template.

Cold rows arrive sorted by key, hot rows by time, both in pieces; one piece is in memory at a time. The memory
grows only with the number of templates and of hot keys.

The way of a day through the files:

query_day                         the input: rows, counts and writes, in columns
analyse                           all steps in their order
cacheable                         leaves out what a cache cannot answer, with the reason
sampled_keys, replay_context      which keys are in the sample; what all replays share
table_writes                      when the tables were written
replay_hot                        hot keys, by second; with replay_hot_caches, replay_hot_entries
replay_cold                       cold keys, by exact time
replay_counts, live_entries       what the replays add up
estimate                          from the sample to all executions, with intervals
replay_trace                      a small part of the day by time, for what must be replayed many times
entry_memory, expired_entries     memory of an entry, and of entries that have expired
peak_memory, template_peak_memory the most memory: of the whole cache, and of some templates
ttl_candidates, savings, ttl      the TTLs, what each of them brings, and which one is chosen
obstacles                         why a template is not worth it
reasons, number_format            the sentences, and the numbers in them
advice                            the advice for each template, and the plan
eviction, hit_ratio_surface       the hit ratio with less memory
result                            the result of the analysis
needs, prices, cost_benefit       what the cache needs, what that costs, and whether it pays
comparison                        the day with a cache compared to the day without
daily_report                      the report of the day
stored_reports                    reports of past days, as they are read back

The assumptions about the cache are in `core/cache_assumptions.py`; `reports/` reads the day, and keeps and
mails the report.

SHARDS: Waldspurger et al., Efficient MRC Construction with SHARDS, FAST '15.
TTLs:   Yang et al., A Large Scale Analysis of Hundreds of In-memory Cache Clusters at Twitter, OSDI '20.
"""
