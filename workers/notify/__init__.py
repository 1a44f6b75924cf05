"""The delivery of alerts: from the stream to people, pagers and Alertmanager, at least once."""
