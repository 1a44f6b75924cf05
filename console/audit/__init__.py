"""The audit trail, read again: is the log whole, and what does it say."""
