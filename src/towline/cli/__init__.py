"""The command line: what a user types, reads and gets back."""
