"""Pictures in, relative inverse depth out, in a process of its own."""
