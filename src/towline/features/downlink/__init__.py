"""The cluster's traffic for programs of this machine: `tow exchange`, `mirror` and `preview`."""
