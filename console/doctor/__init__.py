"""`rollcall doctor`: looks at what Rollcall stands on, and says what is unsafe. Changes nothing."""
