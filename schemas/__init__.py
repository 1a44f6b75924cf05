"""What crosses a process border, and nothing else. Imports nothing of ours."""
