"""What sessions of anybody have in the cluster: told, put right, removed."""
