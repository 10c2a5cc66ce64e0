"""The night watched: its metrics against those of earlier nights, alerts, and pages for people."""
