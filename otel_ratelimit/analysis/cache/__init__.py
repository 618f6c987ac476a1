"""What a cache of query results would need and give: pure functions."""
