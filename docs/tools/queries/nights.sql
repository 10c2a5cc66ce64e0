-- the nights whose tables may be read, the last one first, and the versions to read them at
SELECT run_date, generation, listeners, versions['ranked_lists'] AS version_of_lists
FROM nights WHERE state = 'published' ORDER BY run_date DESC
