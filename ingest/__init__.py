"""The door: Flask. Verifies, validates, deposits, answers 204. Never imports workers."""
