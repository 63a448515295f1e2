"""The session's resolver: cluster names to the agent, all others to where they went before."""
