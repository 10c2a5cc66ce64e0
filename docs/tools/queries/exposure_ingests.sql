-- writers that were not complete, and why
SELECT run_date, writer, state, announced, lines, accepted, duplicates, rejected, remarks
FROM exposure_ingests WHERE state <> 'complete' ORDER BY run_date, writer
