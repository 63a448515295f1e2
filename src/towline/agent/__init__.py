"""The program in the pod: dials and resolves for the session, and ends when that is gone."""
