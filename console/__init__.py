"""The operator's side: the `rollcall` command, the embedded server, the demo."""
