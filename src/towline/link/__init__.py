"""The one authenticated connection between a session and its agent."""
