"""What programs say to a proxy, and are answered: SOCKS and HTTP, without IO."""
