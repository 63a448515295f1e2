"""The Kubernetes API: configuration, credentials, typed errors, objects, watches, streams."""
