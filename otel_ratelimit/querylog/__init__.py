"""From executions of queries to what is kept: decided and counted on the caller's thread, the rest later."""
