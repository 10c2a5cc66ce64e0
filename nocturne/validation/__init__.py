"""Tables of a night to profiles, suites and verdicts; the gate."""
