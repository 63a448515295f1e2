"""This machine's side: programs' packets to the cluster led to the session, by a root helper.

Nothing is imported here, so that the helper starts with little more than the standard library.
`control` holds the session's grip on the kernel, `intercept` what becomes of the traffic.
"""
