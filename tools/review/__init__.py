"""The review of a change: two runs compared, a report, and the gate."""
