"""Metrics of a night by segment: pure sums over batches, which add up; no tables, no Spark."""
