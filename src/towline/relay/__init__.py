"""The asyncio side of a link, the same at both ends: a Mux on a transport, TCP spliced into it."""
