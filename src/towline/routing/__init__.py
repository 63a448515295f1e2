"""Which requests of a service go to whom, and how a proxy is told: values and pure functions."""
