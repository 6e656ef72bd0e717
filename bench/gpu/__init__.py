"""pyneedle on a GPU against the frameworks on the same GPU; see bench/README.md."""
